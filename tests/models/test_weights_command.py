"""birefnet-batch-weights: fills a folder, shows and verifies it; a machine without a network runs from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from closed_folder import close
from hub_server import COMMIT, Hub, environment, located, start_locating
from safetensors.torch import load, save
from warm import Program

import birefnet_batch
from birefnet_batch.models.registry import SHIPPED
from birefnet_batch.models.weights_command import _asked, run

# Every network is the demo model's, whose checkpoint a test can serve.
SMALL = "import birefnet_batch.models as m; build = m.build_network; m.build_network = lambda _: build('demo')"
FULL = "from birefnet_batch.models.weights_command import main; main()"
CHECKPOINT = (Path(birefnet_batch.__file__).parent / "models" / "demo" / "demo.safetensors").read_bytes()


def command(words: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return Program(f"{SMALL}; {FULL}", *words.split(), env=env, cwd=cwd).wait()


def test_the_command_that_an_error_names_makes_the_next_run_work(tmp_path: Path, hub: Hub):
    hub.large["ZhengPeng7/BiRefNet@main"] = content = CHECKPOINT
    hub.large["some/tuned@v2"] = tuned = save(load(CHECKPOINT), metadata={"tuned": "yes"})
    online = environment(tmp_path / "online", hub.endpoint)
    offline = environment(tmp_path / "offline", "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    folder = str(tmp_path / "copied")
    asked = [(None, folder), ("some/tuned@v2", folder)]
    for said in located(start_locating(asked, offline)):
        assert f"{folder}/light/model.safetensors does not exist" in said
        (words,) = re.findall(r"`birefnet-batch-weights ([^`]*)`", said)
        fetched = command(words, online, tmp_path)
        assert fetched.returncode == 0, fetched.stderr
        assert "light: fetched, " in fetched.stdout
        assert f"use them with weights_folder={folder}" in fetched.stdout
        if "some/tuned" not in words:
            (found, other) = located(start_locating(asked, offline))
            assert found[0] == f"ZhengPeng7/BiRefNet@{COMMIT}"
            assert Path(found[2]).read_bytes() == content
            assert "is of ZhengPeng7/BiRefNet@main, and some/tuned@v2 is asked for" in other
    (other, found) = located(start_locating(asked, offline))
    use = "weights.light=some/tuned@v2"
    assert fetched.stdout.endswith(f"use them with weights_folder={folder} {use}\n"), "and without it this is refused:"
    assert f"is of some/tuned@v2, and ZhengPeng7/BiRefNet is asked for; to use what is there give {use}." in other
    assert Path(found[2]).read_bytes() == tuned


def test_what_is_fetched_from_another_place_than_its_model_s_is_used_with_the_setting_that_is_named(
    tmp_path: Path, hub: Hub
):
    hub.large["some/tuned@v2"] = hub.large["ZhengPeng7/BiRefNet@v3"] = hub.large["me/own@v1"] = CHECKPOINT
    (tmp_path / "models.yaml").write_text(
        "own: {network: demo, weights: me/own}\nfile: {network: demo, weights: a.pth}\n"
    )
    words = "fetch light=ZhengPeng7/BiRefNet@v3 demo=some/tuned@v2 own=some/tuned@v2 file=me/own@v1 studio=me/own@v1"
    fetched = command(f"{words} --models models.yaml", environment(tmp_path / "hf", hub.endpoint), tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert re.search(r"of this entry of its `models`: studio: {network: \w+, weights: me/own@v1}\n", fetched.stdout)
    settings = "weights.demo=some/tuned@v2 +weights.own=some/tuned@v2 +weights.file=me/own@v1"
    assert fetched.stdout.endswith(f"use them with weights_folder=weights {settings}\n")


def test_what_is_there_is_not_fetched_again_and_what_fails_costs_no_other(tmp_path: Path, hub: Hub):
    hub.large["ZhengPeng7/BiRefNet-matting@main"] = CHECKPOINT
    env = environment(tmp_path / "hf", hub.endpoint)
    first = command("fetch light portrait=some/tuned@v3 matting", env, tmp_path)
    assert first.returncode == 1
    assert "error: The weights of light (ZhengPeng7/BiRefNet) cannot be had: " in first.stderr
    assert "matting: fetched, " in first.stdout
    assert "error: The weights of portrait (some/tuned@v3) cannot be had: " in first.stderr
    again = command("fetch matting", env, tmp_path)
    assert "matting: there already, " in again.stdout
    assert len(hub.transfers()) == 1
    assert sorted(path.name for path in (tmp_path / "weights" / "matting").iterdir() if path.name != ".lock") == [
        "model.safetensors",
        "source.json",
    ]


def test_what_cannot_be_used_replaces_nothing_that_can(tmp_path: Path, hub: Hub):
    hub.large["some/good@main"] = CHECKPOINT
    hub.large["some/foreign@main"] = save({"x": torch.zeros(8)})
    hub.large["some/better@main"] = better = save(load(CHECKPOINT), metadata={"better": "yes"})
    env = environment(tmp_path / "hf", hub.endpoint)
    folder = tmp_path / "weights" / "mine"
    assert command("fetch mine=some/good", env, tmp_path).returncode == 0
    source = (folder / "source.json").read_text()
    refused = command("fetch mine=some/foreign", env, tmp_path)
    assert refused.returncode == 1
    said = "error: mine: what some/foreign has cannot be used, and weights/mine/model.safetensors stays as it was: "
    assert said in refused.stderr
    assert "stays as it was: The weights of some/foreign are not those of any network here" in refused.stderr
    assert refused.stderr.rstrip().endswith("; what came was deleted")
    assert ".incomplete" not in refused.stderr
    assert (folder / "model.safetensors").read_bytes() == CHECKPOINT
    assert (folder / "source.json").read_text() == source
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "model.safetensors",
        "source.json",
    ]
    assert command("fetch mine=some/better", env, tmp_path).returncode == 0
    assert (folder / "model.safetensors").read_bytes() == better


def test_a_download_that_breaks_off_says_what_is_kept_and_leaves_nothing_in_the_end(tmp_path: Path, hub: Hub):
    block = 10 * 1024 * 1024  # huggingface_hub writes what came in blocks of this size
    hub.large["some/first@main"] = os.urandom(3 * block)
    hub.large["some/second@main"] = CHECKPOINT
    hub.cuts = [block + 5, *[0] * 20]
    env = environment(tmp_path / "hf", hub.endpoint)
    broken = command("fetch mine=some/first", env, tmp_path)
    assert broken.returncode == 1
    assert re.search(
        rf"cannot be had: the download broke off \(.+\); {block:,} of {3 * block:,} bytes are kept in "
        r"weights/mine/\w+\.incomplete, and the same command goes on from there",
        broken.stderr,
    )
    assert "hub's cache" not in broken.stderr
    # No file may be larger, as on a full disk.
    limited = f"ulimit -f {2 * block // 1024}; exec {sys.executable} -c '{FULL}' fetch mine=some/first"
    hub.cuts = []
    full = subprocess.run(["bash", "-c", limited], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert full.returncode == 1
    assert re.search(r"the download broke off \(File too large\); [\d,]+ of .* kept in weights/mine/\w+\.", full.stderr)
    hub.cuts = []
    assert command("fetch mine=some/second", env, tmp_path).returncode == 0
    assert not list((tmp_path / "weights" / "mine").glob("*.incomplete"))


@pytest.mark.parametrize("how", ["offline", "no answer", "busy"])
def test_without_the_hub_a_folder_is_filled_from_its_cache_on_this_machine(tmp_path: Path, hub: Hub, how: str):
    hub.large["ZhengPeng7/BiRefNet@main"] = hub.large["some/tuned@v2"] = CHECKPOINT
    home, folder = tmp_path / "hf", str(tmp_path / "filled")
    online = environment(home, hub.endpoint)
    located(start_locating([(None, None), ("some/tuned@v2", None)], online))
    if how == "busy":
        alone, reason = online, f"{hub.endpoint} answered 503"
        hub.busy = True
    elif how == "offline":
        alone, reason = {**online, "HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"
    else:
        alone, reason = environment(home, "http://127.0.0.1:9"), "http://127.0.0.1:9 cannot be reached"
    asked = len(hub.transfers())
    fetched = command(f"fetch light mine=some/tuned@v2 --folder {folder}", alone, tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert f"light: fetched, ZhengPeng7/BiRefNet@{COMMIT}" in fetched.stdout
    assert f"mine: fetched, some/tuned@{COMMIT}" in fetched.stdout
    assert re.search(rf"{reason}.*: ZhengPeng7/BiRefNet@{COMMIT} is taken from the hub's cache", fetched.stderr)
    again = command(f"fetch light matting mine=some/tuned@v3 --folder {folder}", alone, tmp_path)
    assert f"light: there already, ZhengPeng7/BiRefNet@{COMMIT}" in again.stdout
    for name, asked_for in (("matting", "ZhengPeng7/BiRefNet-matting"), ("mine", "some/tuned@v3")):
        assert (
            f"The weights of {name} ({asked_for}) cannot be had: they are not in the hub's cache on this machine, and "
            f"{reason}" in again.stderr
        )
    assert len(hub.transfers()) == asked
    assert command(f"verify mine --folder {folder}", alone, tmp_path).stdout.startswith("mine: right, some/tuned@")
    ((_, _, path),) = located(start_locating([(None, folder)], alone))
    assert Path(path).read_bytes() == CHECKPOINT


def test_a_damaged_cache_fills_no_folder(tmp_path: Path, hub: Hub):
    hub.large["ZhengPeng7/BiRefNet@main"] = CHECKPOINT
    env = environment(tmp_path / "hf", hub.endpoint)
    ((_, _, path),) = located(start_locating([(None, None)], env))
    blob = Path(path).resolve()
    blob.write_bytes(CHECKPOINT[:-1] + b"\1")
    said = command("fetch light", {**env, "HF_HUB_OFFLINE": "1"}, tmp_path)
    assert said.returncode == 1
    assert f"what was in the hub's cache on this machine is damaged; delete {blob}, then fetch" in said.stderr
    assert not list((tmp_path / "weights").rglob("model.safetensors"))


def test_list_and_verify_show_what_is_there_and_what_is_damaged(tmp_path: Path, hub: Hub):
    foreign = save({"x": torch.zeros(8)})
    hub.large["some/tuned@main"] = CHECKPOINT
    hub.large["ZhengPeng7/BiRefNet-matting@main"] = hub.large["some/other@main"] = foreign
    env = environment(tmp_path / "hf", hub.endpoint)
    hub.small["some/text@main"] = b"no checkpoint"
    fetched = command("fetch tuned=some/tuned text=some/text matting other=some/other", env, tmp_path)
    assert (fetched.returncode, "use them with" in fetched.stdout) == (1, False)
    for name, why in (
        ("text", "are no safetensors file that can be read"),
        ("matting", "are not those of Matting"),
        ("other", "are not those of any network here"),
    ):
        assert re.search(rf"error: {name}: what \S+@{COMMIT} has cannot be used: The weights \S+ {why}", fetched.stderr)
        assert f"{name}: fetched" not in fetched.stdout
    assert "tuned: fetched, " in fetched.stdout
    listed = command("list", env, tmp_path)
    assert f"tuned: weights/tuned/model.safetensors, some/tuned@{COMMIT}, {len(CHECKPOINT):,} bytes" in listed.stdout
    assert "portrait: not here; `birefnet-batch-weights fetch portrait --folder weights`" in listed.stdout
    assert "matting: not here" not in listed.stdout
    verified = command("verify", env, tmp_path)
    assert f"tuned: right, some/tuned@{COMMIT}, network " in verified.stdout
    assert verified.returncode == 1, "the file came whole, but it is no checkpoint of Matting"
    assert re.search(
        r"matting: The weights .* are not those of Matting \(network swin_v1_l\): .* 1 unknown: x", verified.stdout
    )
    path = tmp_path / "weights" / "tuned" / "model.safetensors"
    path.write_bytes(CHECKPOINT[:-1] + b"\1")
    damaged = command("verify tuned", env, tmp_path)
    assert damaged.returncode == 1
    assert "weights/tuned/model.safetensors is damaged: it has" in damaged.stdout


def test_a_model_of_yours_is_fetched_listed_and_verified_by_its_entry(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    hub.large["me/tuned@v2"] = CHECKPOINT
    (tmp_path / "file.safetensors").write_bytes(CHECKPOINT)
    (tmp_path / "mine.yaml").write_text(
        "tuned: {network: demo, weights: me/tuned@v2, name: Tuned}\n"
        "local: {network: demo, weights: file.safetensors, name: Local One}\n"
        "large: {network: swin_v1_l, weights: file.safetensors}\n"
        "gone: {network: demo, weights: gone.safetensors}\n"
        "other: {network: demo, weights: me/other}\n"
    )
    words = "fetch Tuned=me/tuned@v2 local large gone --models mine.yaml".split()
    done = Program(FULL, *words, env=environment(tmp_path / "hf", hub.endpoint), cwd=tmp_path).wait()
    assert done.returncode == 1
    assert re.search(rf"tuned: fetched, me/tuned@{COMMIT}, .* network demo", done.stdout)
    assert re.search(r"local: nothing to fetch, file.safetensors, .* network demo", done.stdout)
    assert "file.safetensors are not those of large (network swin_v1_l): " in done.stderr
    assert "models.gone.weights=gone.safetensors does not exist" in done.stderr
    monkeypatch.chdir(tmp_path)
    assert run(["list", "--models", "mine.yaml"]) == 0
    listed = capsys.readouterr().out
    assert f"tuned: weights/tuned/model.safetensors, me/tuned@{COMMIT}" in listed
    assert "gone: gone.safetensors, which does not exist" in listed
    assert run(["verify", "--models", "mine.yaml"]) == 1
    verified = capsys.readouterr().out
    assert f"tuned: right, me/tuned@{COMMIT}, network demo" in verified
    assert "local: right, file.safetensors" in verified
    assert "large: The weights file.safetensors are not those of large" in verified
    assert "other: not here; `birefnet-batch-weights fetch other=me/other --folder weights`" in verified


def test_verify_reads_what_only_the_hub_s_cache_has(tmp_path: Path, hub: Hub):
    hub.large["ZhengPeng7/BiRefNet@main"] = CHECKPOINT
    env = environment(tmp_path / "hf", hub.endpoint)
    ((_, digest, path),) = located(start_locating([(None, None)], env))
    (tmp_path / "mine.yaml").write_text("mine: {network: demo, weights: ZhengPeng7/BiRefNet}\n")
    right = command("verify light mine matting --models mine.yaml", env, tmp_path)
    assert right.returncode == 1
    for name in ("light", "mine"):
        assert f"{name}: right, the hub's cache, ZhengPeng7/BiRefNet@{COMMIT}, sha256 {digest}, network" in right.stdout
    assert "matting: not here; `birefnet-batch-weights fetch matting --folder weights`" in right.stdout
    blob = Path(path).resolve()
    blob.write_bytes(CHECKPOINT[:-1] + b"\1")
    wrong = command("verify light", env, tmp_path)
    assert wrong.returncode == 1
    assert re.search(rf"light: what the hub's cache has is damaged \(sha256 \w+\); delete {blob}, and", wrong.stdout)


@pytest.mark.parametrize("source", ["{", "[]", '{"repository": 1}', "[" * 100_000, "sizes"], ids=lambda text: text[:9])
def test_one_source_that_cannot_be_read_costs_the_list_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
):
    if source == "sizes":
        source = '{"repository": "a/b", "revision": "main", "commit": "c", "size": "1", "sha256": "s"}'
    for name in ("broken", "whole"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(CHECKPOINT)
    (tmp_path / "broken" / "source.json").write_text(source)
    for word, right in (("list", "put there by hand"), ("verify", "right, put there by hand")):
        assert run([word, "--folder", str(tmp_path)]) == 1
        said = capsys.readouterr().out
        assert re.search(r"^broken: \S+/broken/source\.json cannot be read \(.+\); fetch broken again$", said, re.M)
        assert re.search(rf"^whole: .*{right}", said, re.M)


def test_verify_reads_the_numbers_and_not_only_the_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tensors = load(CHECKPOINT)
    tensors["decoder.conv_out1.0.bias"] = torch.full_like(tensors["decoder.conv_out1.0.bias"], torch.nan)
    for name in ("safetensors", "pth"):
        path = tmp_path / f"broken.{name}"
        if name == "pth":
            torch.save(tensors, path)
        else:
            path.write_bytes(save(tensors))
        (tmp_path / "mine.yaml").write_text(f"mine: {{network: demo, weights: {path}}}\n")
        for words in (["verify"], ["fetch", "mine"]):
            assert run([*words, "--folder", str(tmp_path / "none"), "--models", str(tmp_path / "mine.yaml")]) == 1
            said = "".join(capsys.readouterr())
            assert f"{path} hold NaN, in 1 tensors: decoder.conv_out1.0.bias" in said
            assert "right" not in said
            assert "nothing to fetch" not in said


def test_folders_and_files_that_may_not_be_looked_at_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    closed = close(tmp_path / "closed", monkeypatch)
    for folder, reason in ((closed, "permission denied"), (tmp_path / ("x" * 300), "file name too long")):
        for word in ("list", "verify"):
            assert run([word, "--folder", str(folder)]) == 1
            assert capsys.readouterr().err == f"error: {folder} cannot be read: {reason}\n"
        (tmp_path / "mine.yaml").write_text(f"mine: {{network: demo, weights: {folder}/a.safetensors}}\n")
        words = ["--folder", str(tmp_path / "none"), "--models", str(tmp_path / "mine.yaml")]
        run(["list", *words])
        assert f"mine: {folder}/a.safetensors, which cannot be read: {reason}\n" in capsys.readouterr().out
        assert run(["verify", *words]) == 1
        assert f"cannot be read: {reason}; give a safetensors" in capsys.readouterr().out


def test_another_revision_of_a_model_is_asked_for_by_either_of_its_names():
    for name in ("heavy", "General Use (Heavy)"):
        (asked,) = _asked([f"{name}=me/tuned@v2"], SHIPPED)
        assert asked[:2] == ("heavy", "me/tuned@v2")


def test_wrong_words_are_refused_before_anything_is_fetched(capsys: pytest.CaptureFixture[str]):
    assert run(["fetch", "ligth"]) == 2
    assert "ligth is no model to fetch; give light, light_2k, heavy" in capsys.readouterr().err
    for word in ("mine=nothing", "my own=me/tuned", "../mine=me/tuned", "Mine=me/tuned"):
        assert run(["fetch", word]) == 2
        assert f"{word} is no NAME=OWNER/REPOSITORY[@REVISION]" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["fetch", "light"], ["list"], ["verify"]])
def test_an_empty_folder_is_refused_and_not_the_one_that_one_is_in(
    capsys: pytest.CaptureFixture[str], action: list[str]
):
    with pytest.raises(SystemExit) as caught:
        run([*action, "--folder", ""])
    assert caught.value.code == 2
    assert "--folder: it is empty, as a variable is that the shell does not have" in capsys.readouterr().err
