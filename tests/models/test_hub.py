"""The hub: what is asked of it, what is verified, what goes on after an interruption, and what its refusals mean."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import httpx
import pytest
from hub_server import COMMIT, Hub, environment, located, start_locating
from huggingface_hub import file_download

from birefnet_batch.models.hub import HubFile, fetch_to_file
from birefnet_batch.models.hub_errors import HubError

BIREFNET = "ZhengPeng7/BiRefNet@main"
# huggingface_hub writes what came in blocks of this size.
BLOCK = 10 * 1024 * 1024
RESOLVE = "/ZhengPeng7/BiRefNet/resolve/main/model.safetensors"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def left_over(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and "incomplete" in path.name]


def test_published_weights_come_once_and_nothing_else_is_asked_for(tmp_path: Path, hub: Hub):
    content = os.urandom(200_000)
    hub.large[BIREFNET] = content
    env = environment(tmp_path, hub.endpoint)
    (found,) = located(start_locating([(None, None)], env))
    assert found[:2] == [f"ZhengPeng7/BiRefNet@{COMMIT}", sha256(content)]
    assert Path(found[2]).read_bytes() == content
    assert Path(found[2]).is_relative_to(tmp_path / "hub"), "HF_HOME is respected"
    files = {asked.split()[1] for asked in hub.asked if not asked.startswith("GET /api/")}
    assert files == {RESOLVE, RESOLVE.replace("main", COMMIT), f"/storage/{sha256(content)}"}, (
        "code of the repository is never fetched"
    )
    asked = len(hub.asked)
    assert located(start_locating([(None, None)], {**env, "HF_HUB_OFFLINE": "1"})) == [found]
    assert len(hub.asked) == asked, "a cached checkpoint needs no network"


def test_of_several_processes_one_downloads_and_the_others_wait(tmp_path: Path, hub: Hub):
    content = os.urandom(2_000_000)
    hub.large[BIREFNET] = content
    hub.pause_s = 0.1
    env = environment(tmp_path, hub.endpoint)
    racing = [start_locating([(None, None)], env) for _ in range(4)]
    found = [located(process) for process in racing]
    assert all(one == found[0] for one in found)
    assert found[0][0][1] == sha256(content)
    assert len(hub.transfers()) == 1


def test_a_killed_download_goes_on_where_it_stopped(tmp_path: Path, hub: Hub):
    content = os.urandom(3 * BLOCK)
    hub.large[BIREFNET] = content
    hub.pause_s = 0.05
    env = environment(tmp_path, hub.endpoint)
    process = start_locating([(None, None)], env)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size >= BLOCK for path in left_over(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    (partial,) = left_over(tmp_path)
    had = partial.stat().st_size
    assert BLOCK <= had < len(content)
    hub.pause_s = 0
    (found,) = located(start_locating([(None, None)], env))
    assert Path(found[2]).read_bytes() == content
    assert hub.transfers()[1].endswith(f" bytes={had}-")
    assert not left_over(tmp_path)


def test_a_cut_connection_is_taken_up_again(tmp_path: Path, hub: Hub):
    content = os.urandom(2 * BLOCK)
    hub.large[BIREFNET] = content
    hub.cuts = [BLOCK + BLOCK // 2]
    (found,) = located(start_locating([(None, None)], environment(tmp_path, hub.endpoint)))
    assert Path(found[2]).read_bytes() == content
    assert [asked.partition(" bytes=")[2] for asked in hub.transfers()] == ["", f"{BLOCK}-"]


def test_wrong_content_is_fetched_again_once_and_never_kept(tmp_path: Path, hub: Hub):
    content = os.urandom(100_000)
    hub.large[BIREFNET] = content
    hub.small["someone/small@main"] = small = os.urandom(5000)
    hub.spoiled = 1
    env = environment(tmp_path / "once", hub.endpoint)
    found = located(start_locating([(None, None), ("someone/small", None)], env))
    assert [one[1] for one in found] == [sha256(content), sha256(small)]
    assert len(hub.transfers()) == 2
    hub.spoiled = 4
    env = environment(tmp_path / "always", hub.endpoint)
    for said in located(start_locating([(None, None), ("someone/small", None)], env)):
        assert "is not what the hub says it is" in said
    assert not list((tmp_path / "always").rglob("model.safetensors"))
    assert not left_over(tmp_path / "always")


def test_fetched_again_is_said_only_when_it_is(tmp_path: Path, hub: Hub):
    hub.large[BIREFNET] = os.urandom(5000)
    for spoiled, told in ((1, 1), (4, 1), (0, 0)):
        hub.spoiled = spoiled
        process = start_locating([(None, None)], environment(tmp_path / str(spoiled), hub.endpoint))
        said = process.wait().stderr
        assert said.count("is not what the hub says it is; it is fetched again") == told
    assert len(hub.transfers()) == 2 + 2 + 1


def test_no_url_is_shown_with_its_secrets(tmp_path: Path, hub: Hub):
    hub.large[BIREFNET] = os.urandom(5000)
    hub.elsewhere = "/not-a-hub?X-Amz-Signature=SECRET&name=a"
    with_user = hub.endpoint.replace("http://", "http://me:SECRET@")
    said = located(start_locating([(None, None)], environment(tmp_path, with_user)))
    hub.elsewhere = ""
    said += located(start_locating([("some/typo", None)], environment(tmp_path, with_user)))
    hub.spoiled = 9
    said += located(start_locating([(None, None)], environment(tmp_path, with_user)))
    hub.spoiled = 0
    said += located(start_locating([(None, None)], environment(tmp_path, "http://me:SECRET@127.0.0.1:9")))
    assert "is not a hub's" in said[0]
    assert "knows no some/typo" in said[1]
    assert "is not what the hub says it is" in said[2]
    assert "cannot be reached" in said[3]
    assert not [text for text in said if "SECRET" in text]


def test_a_cached_file_that_is_damaged_is_never_used(tmp_path: Path, hub: Hub):
    hub.large[BIREFNET] = os.urandom(5000)
    env = environment(tmp_path, hub.endpoint)
    (found,) = located(start_locating([(None, None)], env))
    blob = Path(found[2]).resolve()
    blob.write_bytes(os.urandom(5000))
    (said,) = located(start_locating([(None, None)], env))
    assert f"in the hub's cache are damaged (sha256 {sha256(blob.read_bytes())}); delete {blob}" in said


def test_each_refusal_says_what_it_is_and_the_command_for_elsewhere(tmp_path: Path, hub: Hub):
    hub.large = {"some/private@main": b"p" * 100, "some/gated@main": b"g" * 100, "some/tuned@v2": b"t" * 100}
    hub.private, hub.gated = {"some/private"}, {"some/gated"}
    settings = [
        ("some/typo", None),
        ("some/private", None),
        ("some/gated", None),
        ("some/tuned@v3", None),
        ("some/tuned@v2", None),
    ]
    typo, private, gated, revision, tuned = located(start_locating(settings, environment(tmp_path, hub.endpoint)))
    assert "hub repository: The weights of General Use (Light) (some/typo) cannot be had: " in typo
    assert f"{hub.endpoint} knows no some/typo (401); check the name, and set HF_TOKEN if it is private" in typo
    assert "`birefnet-batch-weights fetch light=some/typo --folder weights`" in typo
    assert "copy the folder weights here and give weights_folder=weights" in typo
    assert "set HF_TOKEN if it is private" in private
    assert "some/gated is gated; accept its terms on the hub and set HF_TOKEN" in gated
    assert "some/tuned has no revision v3" in revision
    assert "fetch light=some/tuned@v3 --folder" in revision
    assert tuned[0] == f"some/tuned@{COMMIT}"

    authorised = environment(tmp_path, hub.endpoint, HF_TOKEN=hub.token)
    found = located(start_locating([("some/private", None), ("some/gated", None)], authorised))
    assert [one[1] for one in found] == [sha256(b"p" * 100), sha256(b"g" * 100)]
    assert hub.tokens_at_storage == [], "the token is the hub's, not its storage's"


@pytest.mark.parametrize("offline", [False, True], ids=["no network", "offline"])
def test_without_a_network_the_command_and_the_folder_are_said(tmp_path: Path, offline: bool):
    env = environment(tmp_path, "http://127.0.0.1:9", **({"HF_HUB_OFFLINE": "1"} if offline else {}))
    began = time.monotonic()
    (said,) = located(start_locating([(None, None)], env))
    assert time.monotonic() - began < 30
    assert "cannot be had: they are not in the hub's cache on this machine, and" in said
    assert ("HF_HUB_OFFLINE is set" if offline else "http://127.0.0.1:9 cannot be reached") in said
    assert "`birefnet-batch-weights fetch light --folder weights`" in said
    assert "give weights_folder=weights" in said


def test_what_may_be_a_mistyped_path_is_told_to_be_taken_for_a_repository(tmp_path: Path):
    env = environment(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    (mistyped, revision) = located(start_locating([("weights/portrait", None), ("weights/portrait@v1", None)], env))
    assert "=weights/portrait is no file or folder here (" in mistyped
    assert "/weights/portrait), and is taken for a hub repository: The weights of" in mistyped
    assert "taken for" not in revision


def test_a_storage_that_cannot_be_reached_is_named_and_not_the_hub(tmp_path: Path, hub: Hub):
    hub.large[BIREFNET] = os.urandom(5000)
    hub.storage = "http://127.0.0.1:9"
    (said,) = located(start_locating([(None, None)], environment(tmp_path, hub.endpoint)))
    assert f"127.0.0.1:9, where {hub.endpoint} says that the file is, cannot be reached (" in said


def test_a_download_whose_host_cannot_be_reached_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def http_get(*_: object, **__: object) -> None:
        raise httpx.ConnectError("Name or service not known", request=httpx.Request("GET", "https://cdn.invalid/a?s=1"))

    monkeypatch.setattr(file_download, "http_get", http_get)
    file = HubFile("some/one", COMMIT, "e" * 64, 5, "https://hub.invalid/some/one")
    with pytest.raises(
        HubError, match=r"the download broke off \(cdn\.invalid: Name or service not known\); 0 of 5 bytes"
    ):
        fetch_to_file(file, tmp_path / "model.safetensors")
