"""`birefnet-batch-engines` on the command line."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from closed_folder import close

import birefnet_batch
from birefnet_batch.engines import build_command, shared_store
from birefnet_batch.engines.artifact import Artifact, source_digest
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.tensorrt_module import load_tensorrt
from birefnet_batch.engines_command import main, run
from birefnet_batch.errors import EngineError, WeightsError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, WRONG_USE
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights


def test_export_writes_one_checked_file_that_says_what_it_is(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "demo.onnx"
    assert run(["export", "demo", "288x256", "--output", str(path)]) == OK
    said = capsys.readouterr().out
    assert "nodes" in said
    assert "against torch in fp32, batch 2: logits max" in said
    facts = {item.key.removeprefix("birefnet_batch."): item.value for item in onnx.load(path).metadata_props}
    assert (facts["model"], facts["width"], facts["height"]) == ("demo", "288", "256")
    assert (facts["precision"], facts["deform_conv"]) == ("fp32", "native")
    assert len(facts["weights_sha256"]) == 64
    assert facts["exporter"].startswith("birefnet_batch ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.onnx"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_ended_leaves_nothing(tmp_path, monkeypatch, number):
    def ended(partial: Path, *_: object) -> None:
        partial.write_bytes(b"half")
        signal.raise_signal(number)
        raise AssertionError("the signal did nothing")

    monkeypatch.setattr("birefnet_batch.engines.onnx_export.export.write_onnx", ended)
    monkeypatch.setattr(sys, "argv", ["birefnet-batch-engines", "export", "demo", "256", "--output", f"{tmp_path}/a"])
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as status:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert status.value.code == INTERRUPTED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody", "256x256"], "there is no model 'nobody'; the models are General Use (Light), "),
        (["nobody", "256x256"], "one of yours comes with --models FILE"),
        (["demo", "0x512"], "resolution 0x512 is not allowed with Demo; give WIDTHxHEIGHT with sides from 256 to 2304"),
        (["demo", "8192"], "resolution 8192x8192 is not allowed with Demo; give WIDTHxHEIGHT with sides from 256"),
        (["heavy", "512"], "512x512 is not allowed with General Use (Heavy); give 1024x1024 or 2048x2048"),
        (["demo", "wide"], "'wide' is no resolution; give WIDTHxHEIGHT"),
    ],
)
def test_wrong_words_are_named(words, message, capsys):
    assert run(["export", *words]) == WRONG_USE
    assert message in capsys.readouterr().err


def test_missing_weights_fail_with_what_to_do(tmp_path, capsys):
    missing = tmp_path / "missing.safetensors"
    assert run(["export", "heavy", "1024", "--weights", str(missing)]) == FAILED
    said = capsys.readouterr().err
    assert "does not exist" in said
    assert "copy the folder weights here and give --weights weights/heavy" in said
    assert "weights_folder" not in said


@pytest.fixture
def matrix(tmp_path) -> str:
    path = tmp_path / "matrix.yaml"
    path.write_text(
        "- {model: demo, resolution: 256x256, engine: onnxruntime}\n"
        "- {model: demo, resolution: 256x256, engine: onnxruntime, provider: openvino}\n"
    )
    return str(path)


def test_the_store_is_filled_listed_verified_and_emptied(tmp_path, matrix, capsys):
    pytest.importorskip("onnxruntime")
    store = ["--store", str(tmp_path / "store")]
    assert run(["build", "--matrix", matrix, *store]) == OK
    said = capsys.readouterr().out
    assert "[1/2] onnxruntime demo 256x256 fp32: " in said
    assert "[2/2] onnxruntime demo 256x256 fp32: left out: engine.provider=openvino cannot be had" in said

    assert run(["list", *store]) == OK
    said = capsys.readouterr().out
    assert "1 engines" in said
    assert re.search(r"onnx demo 256x256 fp32 native .* MB, 7\d\d nodes  made ", said)

    assert run(["verify", *store]) == OK
    assert "intact; against torch in fp32: logits max" in capsys.readouterr().out

    (path,) = (tmp_path / "store").glob("*/model.onnx")
    path.write_bytes(path.read_bytes()[:-1])
    assert run(["verify", *store]) == FAILED
    assert "damaged" in capsys.readouterr().out

    assert run(["prune", *store]) == OK
    said = capsys.readouterr().out
    assert f"removed {path.parent.name}  onnx demo 256x256 fp32 native, damaged\n" in said
    assert "MB freed" in said
    assert not list((tmp_path / "store").glob("*/model.onnx"))


@pytest.mark.parametrize(
    ("words", "status", "unmet"),
    [
        ([], OK, ""),
        (["demo"], OK, ""),
        (["demo", "--engine", "onnxruntime"], OK, ""),
        (
            ["demo", "--engine", "tensorrt", "--compute-capability", "SM89"],
            FAILED,
            "nothing was built of demo, tensorrt",
        ),
        (["--engine", "onnxruntime", "--engine", "tensorrt"], FAILED, "nothing was built of tensorrt"),
        (["light", "demo"], FAILED, "nothing was built of light"),
    ],
)
def test_what_is_named_is_built_or_the_status_says_that_it_was_not(tmp_path, monkeypatch, capsys, words, status, unmet):
    whole = Artifact("onnx", "demo", "demo", "0", 64, 64, "fp32", {"deform_conv": "native"}, code="1")
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(
        "- {model: demo, resolution: 256x256, engine: onnxruntime}\n"
        "- {model: demo, resolution: 256x256, engine: tensorrt}\n"
        "- {model: light, resolution: 1024x1024, engine: tensorrt}\n"
    )
    monkeypatch.setattr(build_command, "_not_here", lambda row, _: "no GPU" if row.engine == "tensorrt" else None)
    monkeypatch.setattr(build_command, "_build", lambda store, *_: store.get(whole, wrote))
    assert run(["build", *words, "--matrix", str(matrix), "--store", str(tmp_path / "store")]) == status
    assert (capsys.readouterr().out.splitlines()[-1] == unmet) == bool(unmet)


def test_a_row_that_no_run_can_use_is_left_out(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text("- {model: demo, resolution: 256x256, engine: onnxruntime, precision: bf16}\n")
    assert run(["build", "demo", "--matrix", str(matrix), "--store", str(tmp_path / "store")]) == FAILED
    said = capsys.readouterr().out
    assert "onnxruntime demo 256x256 bf16: left out: onnxruntime's CPU provider has no bf16; give" in said
    assert "nothing was built of demo" in said
    assert not (tmp_path / "store").exists()


def test_of_an_empty_store_verify_says_that_it_is_empty(tmp_path, capsys):
    assert run(["verify", "--store", str(tmp_path)]) == OK
    assert capsys.readouterr().out == f"{tmp_path}: 0 engines\n"


@pytest.mark.parametrize("prefix", ["", "storage."])
def test_options_of_a_shared_store_are_those_of_the_command_line(tmp_path, monkeypatch, prefix):
    asked = []
    monkeypatch.setattr(shared_store, "bucket_filesystem", lambda scheme, storage: asked.append(storage.options))
    monkeypatch.setattr(build_command, "build", lambda *_: True)
    words = ["--shared-store", "s3://bucket/engines", "--storage", f"{prefix}options.s3.endpoint_url=http://minio:9000"]
    assert run(["build", "--store", str(tmp_path), *words]) == OK
    assert asked == [{"s3": {"endpoint_url": "http://minio:9000"}}]


def test_options_without_a_shared_store_are_refused(tmp_path, capsys):
    assert run(["build", "--store", str(tmp_path), "--storage", "options.s3.endpoint_url=http://minio:9000"]) != OK
    assert "--storage is of the shared store; give --shared-store URL beside it" in capsys.readouterr().err


def test_what_was_built_before_there_was_a_shared_store_is_offered_to_the_others(tmp_path, matrix, monkeypatch):
    whole = Artifact("onnx", "demo", "demo", "0", 64, 64, "fp32", {"deform_conv": "native"}, code="1")
    store, shared = tmp_path / "store", tmp_path / "shared"
    EngineStore(store).get(whole, wrote)
    monkeypatch.setattr(build_command, "_not_here", lambda *_: None)
    monkeypatch.setattr(build_command, "_build", lambda store, *_: store.get(whole, wrote))
    for _ in range(2):
        assert run(["build", "--matrix", matrix, "--store", str(store), "--shared-store", str(shared)]) == OK
        assert sorted(path.name for path in shared.glob(f"{whole.key}/*")) == ["entry.json", "model.onnx"]
        (shared / whole.key / "model.onnx").write_bytes(b"of the others")
    assert (shared / whole.key / "model.onnx").read_bytes() == b"of the others", "what is there stays"


def test_a_model_of_yours_is_exported_built_and_verified_from_the_file_of_the_main_program(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    models, matrix = tmp_path / "mine.yaml", tmp_path / "matrix.yaml"
    weights = Path(birefnet_batch.__file__).parent / "models" / "demo" / "demo.safetensors"
    models.write_text(f"mine: {{network: demo, weights: {weights}, native_resolution: 96x64}}\n")
    matrix.write_text("- {model: mine, resolution: 96x64, engine: onnxruntime}\n")
    known, store = ["--models", str(models)], ["--store", str(tmp_path / "store")]
    assert run(["export", "mine", "96x64", *known, "--output", str(tmp_path / "mine.onnx")]) == OK
    assert (tmp_path / "mine.onnx").is_file()
    assert run(["build", "mine", "--matrix", str(matrix), *known, *store]) == OK
    capsys.readouterr()
    assert run(["verify", *known, *store]) == OK
    assert "onnx mine 96x64 fp32 native: intact; against torch in fp32: logits max" in capsys.readouterr().out
    assert run(["verify", *store]) == OK
    assert "intact; not run: mine is no model here (--models FILE)" in capsys.readouterr().out
    assert run(["export", "mine", "256x256", *known]) == WRONG_USE
    assert "the resolution 256x256 is not allowed with mine; give 96x64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["mine"],
            "matrix.yaml has no row of mine, so that there is nothing to build; give --matrix FILE with",
        ),
        (["demo", "light"], "has no row of light, so that"),
        (["--engine", "tensorrt"], "has no row with engine tensorrt, so that"),
        (["demo", "--engine", "tensorrt"], "has no row of demo with engine tensorrt, so that"),
        (["--compute-capability", "SM89"], "--compute-capability is of plans, and no row to build has engine tensorrt"),
        (["--workspace-gib", "1"], "--workspace-gib is of plans, and no row to build has engine tensorrt"),
        (["--weights", "dmeo=nowhere"], "there is no model 'dmeo'; the models are General Use (Light), "),
    ],
)
def test_what_would_be_passed_over_in_silence_is_refused(tmp_path, matrix, capsys, words, message):
    models = tmp_path / "mine.yaml"
    models.write_text("mine: {network: demo, weights: nowhere.pth, native_resolution: 96x64}\n")
    store = ["--store", str(tmp_path / "store")]
    assert run(["build", *words, "--matrix", matrix, "--models", str(models), *store]) == WRONG_USE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_weights_of_no_model_are_refused_before_anything_is_verified(tmp_path, capsys):
    assert run(["verify", "--store", str(tmp_path), "--weights", "dmeo=nowhere"]) == WRONG_USE
    assert "there is no model 'dmeo'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mine: {network: demo}", "models.mine.weights is missing"),
        ("[mine]", "does not map short names to models; give lines such as mine: {network: swin_v1_t, weights: "),
        ("{", "cannot be read"),
        ("mine: !!bool maybe", "cannot be read: a value does not fit its tag"),
        ("mine: !!int ''", "cannot be read: a value does not fit its tag"),
        ("mine: \xe9", "cannot be read: 'utf-8' codec can't decode"),
        ("[" * 3000, "cannot be read: maximum recursion depth"),
    ],
)
def test_a_wrong_file_of_models_is_one_clear_error(tmp_path, capsys, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content.encode("latin-1"))
    assert run(["export", "mine", "96x64", "--models", str(path)]) == WRONG_USE
    assert message in capsys.readouterr().err


def wrote(path):
    path.write_bytes(b"engine")
    return {}


def test_engines_of_another_exporter_are_pruned_and_current_ones_kept(tmp_path, capsys):
    store = EngineStore(tmp_path)
    now = Artifact("onnx", "demo", "demo", "0", 64, 64, "fp32", {"deform_conv": "native"}, code=source_digest("onnx"))
    store.get(now, wrote)
    store.get(replace(now, code="before"), wrote)
    run(["list", "--store", str(tmp_path)])
    assert capsys.readouterr().out.count("of an earlier version") == 1
    run(["prune", "--store", str(tmp_path)])
    assert [entry.key for entry in store.entries()] == [now.key]
    run(["prune", "--store", str(tmp_path), "--unused-days", "1"])
    assert len(list(store.entries())) == 1
    (tmp_path / "inductor" / "deep").mkdir(parents=True)
    (tmp_path / "inductor" / "deep" / "kernel.py").write_bytes(b"0" * 2_000_000)
    run(["list", "--store", str(tmp_path)])
    assert "inductor: 2.0 MB of what torch.compile made" in capsys.readouterr().out
    run(["prune", "--store", str(tmp_path), "--all"])
    assert list(store.entries()) == []
    assert not (tmp_path / "inductor").exists()


def test_plans_of_another_version_of_the_library_are_told_and_kept_for_machines_that_have_it(
    tmp_path, capsys, monkeypatch
):
    try:
        library = load_tensorrt()
    except EngineError as error:
        pytest.skip(str(error))
    store, here = EngineStore(tmp_path), {library.name: library.version}
    options = {"deform_conv": "gridsample"}
    plan = Artifact("plan", "demo", "demo", "0", 64, 64, "fp32", options, 4, here, code=source_digest("plan"))
    store.get(plan, wrote)
    older = store.get(replace(plan, libraries={library.name: "1.6.0.1"}), wrote).parent.name
    words = ["--store", str(tmp_path)]
    assert run(["list", *words]) == OK
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "no run with" in line)
    assert said.startswith(older)
    assert said.endswith(
        f", which no run with {library.name} {library.version}, as it is here, opens; prune --unused-days N removes it"
    )
    assert run(["prune", *words]) == OK
    assert len(list(store.entries())) == 2
    monkeypatch.setattr("birefnet_batch.engines.tensorrt_module.load_tensorrt", refusing(EngineError("none")))
    assert run(["list", *words]) == OK
    assert "no run with" not in capsys.readouterr().out


def test_plans_that_are_not_the_same_are_told_apart(tmp_path, capsys):
    def plan(device: dict[str, str], library: str, workspace: int | None = None) -> Artifact:
        options = {"deform_conv": "gridsample", "workspace_bytes": workspace}
        return Artifact("plan", "demo", "demo", "0", 64, 64, "fp16", options, 4, {"tensorrt": library}, device)

    card = {"name": "NVIDIA H200", "compute_capability": "9.0", "cuda": "13"}
    plans = {
        "for SM89 by tensorrt 11.1": plan({"name": "any", "compute_capability": "SM89"}, "11.1"),
        "for SM89 by tensorrt 11.2": plan({"name": "any", "compute_capability": "SM89"}, "11.2"),
        "for SM86 by tensorrt 11.1": plan({"name": "any", "compute_capability": "SM86"}, "11.1"),
        "for NVIDIA H200 with CUDA 13 by tensorrt 11.1": plan(card, "11.1"),
        "for NVIDIA H200 with CUDA 12 by tensorrt 11.1": plan({**card, "cuda": "12"}, "11.1"),
        "workspace 1.5 GiB for NVIDIA H200 with CUDA 13 by tensorrt 11.1": plan(card, "11.1", 3 << 29),
    }
    for artifact in plans.values():
        EngineStore(tmp_path).get(artifact, wrote)
    words = ["--store", str(tmp_path)]
    for command in (["list"], ["verify"], ["prune", "--all"]):
        run([*command, *words])
        said = capsys.readouterr().out
        for which, artifact in plans.items():
            assert re.search(f"{artifact.key}  plan demo 64x64 fp16 gridsample batch 4 {which}(:|  |$)", said, re.M)
            assert str(artifact) == f"plan demo 64x64 fp16 gridsample batch 4 {which}"


@pytest.mark.parametrize("number", ["-1", "nan", "x"])
def test_engines_are_not_pruned_by_days_that_there_are_not(number, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(["prune", "--store", str(tmp_path), "--unused-days", number])
    assert f"--unused-days: {number!r} is no number of days; give 0 or more" in capsys.readouterr().err


def test_what_is_damaged_or_was_left_by_killed_processes_is_listed_named_and_pruned(tmp_path, capsys):
    store = EngineStore(tmp_path)
    whole = Artifact("onnx", "mine", "demo", "0", 64, 64, "fp32", {"deform_conv": "native"}, code=source_digest("onnx"))
    kept, *paths = (store.get(replace(whole, width=width), wrote) for width in (64, 96, 128, 160, 192))
    paths[0].unlink()
    (paths[1].parent / "entry.json").write_text("{")
    (paths[2].parent / "used").unlink()
    shutil.copy(kept.parent / "entry.json", paths[3].parent)
    removed = f".removed-{whole.key}-00000000"
    for name in (f".building/{whole.key}-0000dead", f".building/{removed}", f".removed-{removed}-0000beef"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.onnx").write_bytes(b"0" * 1_000_000)
    words = ["--store", str(tmp_path)]
    assert run(["list", *words]) == OK
    said = capsys.readouterr().out
    assert ": 1 engines, " in said
    assert "4 damaged, 0.0 MB: prune removes them" in said
    assert "3 left by processes that were killed, 3.0 MB: prune removes them" in said
    assert run(["verify", *words]) == FAILED
    said = capsys.readouterr().out
    reason = "damaged: files are missing, unreadable or another engine's; made again at its next use"
    assert all(f"{path.parent.name}  {reason}" in said for path in paths)
    assert run(["prune", *words]) == OK
    assert "3.0 MB freed" in capsys.readouterr().out
    assert list(tmp_path.rglob("model.*")) == [kept]
    assert run(["verify", *words]) == OK


OF_THE_USER = (
    "d41d8cd98f00b204e9800998ecf8427e/photo.raw",
    "batch/job1.sh",
    "batch/sizes.json",
    "precision/notes.txt",
    "timing/run.csv",
    ".removed-mail/x",
    ".building/abc/y",
    "src/a.py",
)


@pytest.mark.parametrize("of_torch", ["inductor", "triton"])
@pytest.mark.parametrize("words", [["prune"], ["prune", "--all"]])
def test_in_a_folder_that_is_no_store_nothing_is_damaged_or_pruned(tmp_path, capsys, words, of_torch):
    files = [tmp_path / name for name in (*OF_THE_USER, f"{of_torch}/kernel.py")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    store = ["--store", str(tmp_path)]
    assert run(["verify", *store]) == OK
    assert run(["list", *store]) == OK
    assert run([*words, *store]) == OK
    said = capsys.readouterr().out
    assert "damaged" not in said
    assert "removed" not in said
    assert all(path.read_text() == "mine" for path in files)


def test_a_store_in_a_folder_of_yours_is_pruned_without_what_is_yours(tmp_path, capsys):
    store = EngineStore(tmp_path)
    whole = Artifact("onnx", "mine", "demo", "0", 64, 64, "fp32", {"deform_conv": "native"}, code=source_digest("onnx"))
    store.get(whole, wrote)
    files = [tmp_path / name for name in OF_THE_USER]
    key = "0" * 32
    kept = [
        tmp_path / name
        for name in (
            f"batch/{key}.json",
            f"batch/{key}.json.0123abcd.partial",
            f"precision/demo-{key}-fp16-cuda.json.0123abcd.partial",
            "timing/tensorrt-10.14.1-NVIDIA_H200.cache.0123abcd.partial",
            f"precision/demo-{key}-bf16-cpu.json",
            "timing/tensorrt-10.14.1-NVIDIA_H200.cache",
            "timing/tensorrt-10.14.1-NVIDIA_H200.lock",
        )
    ]
    for path in (*files, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    assert run(["prune", "--store", str(tmp_path)]) == OK
    assert all(path.is_file() for path in (*files, *kept))
    assert run(["prune", "--all", "--store", str(tmp_path)]) == OK
    assert "removed measured batch sizes" in capsys.readouterr().out
    assert list(store.entries()) == []
    assert all(path.is_file() for path in files)
    assert not any(path.exists() for path in kept)


def too_long(folder):
    return folder / ("x" * 300)


def a_file(folder):
    (folder / "file").write_text("")
    return folder / "file"


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
@pytest.mark.parametrize(("store", "reason"), [(too_long, "file name too long"), (a_file, "not a directory")])
def test_a_store_that_cannot_be_looked_into_is_one_clear_error(tmp_path, capsys, command, store, reason):
    assert run([command, "--store", str(store(tmp_path))]) == FAILED
    assert f"cannot be read: {reason}; mend it, or give --store FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_store_that_was_named_must_be_there_and_the_default_one_need_not_yet(tmp_path, capsys, monkeypatch, command):
    assert run([command, "--store", str(tmp_path / "tpyo")]) == WRONG_USE
    assert f"there is no folder {tmp_path / 'tpyo'}; give --store the folder of a store" in capsys.readouterr().err
    monkeypatch.setattr("birefnet_batch.engines.store.default_root", lambda: tmp_path / "store")
    assert run([command]) == OK
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("words", [["prune", "--all", "--store"], ["build", "--shared-store"]])
def test_an_empty_store_is_refused_and_not_the_folder_that_one_is_in(capsys, words, empty):
    with pytest.raises(SystemExit) as caught:
        run([*words, empty])
    assert caught.value.code == WRONG_USE
    assert f"{words[-1]}: it is empty, as a variable is that the shell does not have" in capsys.readouterr().err


def refusing(error):
    def refuse(*_, **__):
        raise error

    return refuse


@pytest.mark.parametrize(
    ("kind", "place", "error", "reason"),
    [
        ("onnx", "store_command.locate_weights", WeightsError("there is no network"), "there is no network"),
        ("onnx", "onnx_session.require_provider", EngineError("1.20 is too old"), "1.20 is too old"),
        ("onnx", "onnx_export.check.checked", MemoryError(), "too little memory"),
        ("plan", "tensorrt_module.load_tensorrt", EngineError("it is not installed"), "it is not installed"),
    ],
)
def test_what_cannot_be_run_here_is_neither_damaged_nor_wrong(
    tmp_path, capsys, monkeypatch, kind, place, error, reason
):
    options = {"deform_conv": "native"}
    weights = locate_weights(find_model("demo"))
    EngineStore(tmp_path).get(Artifact.of(kind, find_model("demo"), weights, (64, 64), "fp32", options), wrote)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(f"birefnet_batch.engines.{place}", refusing(error))
    assert run(["verify", "--store", str(tmp_path)]) == OK
    assert f": intact; not run: {reason}\n" in capsys.readouterr().out


def test_weights_that_were_given_and_cannot_be_had_are_a_failure_of_verify(tmp_path, capsys):
    options = {"deform_conv": "native"}
    weights = locate_weights(find_model("demo"))
    EngineStore(tmp_path).get(Artifact.of("onnx", find_model("demo"), weights, (64, 64), "fp32", options), wrote)
    assert run(["verify", "--store", str(tmp_path), "--weights", f"demo={tmp_path / 'none.pth'}"]) == FAILED
    assert "none.pth does not exist" in capsys.readouterr().out


def test_wrong_rows_of_a_matrix_are_all_named(tmp_path, capsys):
    path = tmp_path / "matrix.yaml"
    path.write_text(
        "- {model: demo, resolution: 60, engine: onnxruntime}\n"
        "- {model: nobody, resolution: 256, engine: onnxruntime}\n"
        "- {model: demo, resolution: 256, engine: caffe}\n"
        "- {model: demo, engine: tensorrt, size: 3}\n"
        "- {model: demo, resolution: 256, engine: tensorrt, provider: cuda}\n"
        "- {model: demo, resolution: 256, engine: onnxruntime, batch_size: 8}\n"
        "- {model: demo, resolution: 256, engine: tensorrt, batch_size: true}\n"
    )
    assert run(["build", "--matrix", str(path), "--store", str(tmp_path)]) == WRONG_USE
    said = capsys.readouterr().err
    for problem in (
        "row 1: the resolution 60x60 is not allowed with Demo",
        "row 2: there is no model 'nobody'",
        "row 3: engine is 'caffe'",
        "row 4",
        "row 5: provider is of onnxruntime and means nothing with engine tensorrt; leave it out",
        "row 6: batch_size is of tensorrt and means nothing with engine onnxruntime; leave it out",
        "row 7: batch_size is True; it must be a whole number of at least 1",
    ):
        assert problem in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- {model: d\xe9mo}", "cannot be read: 'utf-8' codec can't decode"),
        (b"- {model: !!bool maybe}", "cannot be read: a value does not fit its tag"),
        (b"- {model: !!int ''}", "cannot be read: a value does not fit its tag"),
        (b"- {model: !!int many}", "cannot be read: invalid literal"),
        (b"[" * 3000, "cannot be read: maximum recursion depth"),
    ],
)
def test_a_matrix_that_is_none_is_one_clear_error(tmp_path, capsys, content, message):
    path = tmp_path / "matrix.yaml"
    path.write_bytes(content)
    assert run(["build", "--matrix", str(path), "--store", str(tmp_path)]) == WRONG_USE
    assert f"the matrix {path} {message}" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["inf", "nan", "0", "1e-12", "-1", "1e300", "many"])
def test_a_workspace_that_no_layer_can_have_is_refused(tmp_path, capsys, number):
    with pytest.raises(SystemExit) as ended:
        run(["build", "--store", str(tmp_path), f"--workspace-gib={number}"])
    assert ended.value.code == WRONG_USE
    assert f"--workspace-gib: {number!r} is no number from 0.001 to 1048576" in capsys.readouterr().err


def test_the_shipped_matrix_is_right_and_names_every_model():
    from birefnet_batch.engines.matrix import default_matrix, read_matrix
    from birefnet_batch.models.registry import MODELS

    rows = read_matrix(default_matrix())
    assert {row.model.short_name for row in rows} == {model.short_name for model in MODELS}


@pytest.mark.parametrize(("engine", "precision"), [("onnxruntime", "fp32"), ("tensorrt", "fp16")])
def test_the_shipped_matrix_has_what_a_run_of_each_model_asks_for_by_itself(engine, precision):
    from birefnet_batch.engines.matrix import Row, default_matrix, read_matrix
    from birefnet_batch.engines.plan_limits import largest_batch
    from birefnet_batch.models.registry import MODELS

    def usual(row: Row) -> int:
        return 4 if engine == "onnxruntime" else min(4, largest_batch(row.model, (row.width, row.height)))

    rows = {
        (row.model.short_name, f"{row.width}x{row.height}")
        for row in read_matrix(default_matrix())
        if (row.engine, row.precision, row.batch_size) == (engine, precision, usual(row))
    }
    assert {(model.short_name, model.default_resolution) for model in MODELS} <= rows
    assert ("light_2k", "2560x1440") in rows


@pytest.mark.parametrize("place", ["", "none/demo.onnx"])
def test_a_place_that_no_file_can_have_is_refused_before_anything_is_exported(place, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr("birefnet_batch.engines.onnx_export.export.write_onnx", None)
    assert run(["export", "demo", "256x256", "--output", str(tmp_path / place)]) == FAILED
    assert re.search(r"--output .* (is a folder; give|has no folder .*none to be in; make it)", capsys.readouterr().err)


def test_an_onnxruntime_that_cannot_check_the_file_is_named_before_anything_is_exported(tmp_path, capsys, monkeypatch):
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr("birefnet_batch.engines.onnx_export.export.write_onnx", None)
    monkeypatch.setattr(runtime, "__version__", "1.24.1")
    words = ["export", "demo", "256x256", "--output", str(tmp_path / "demo.onnx")]
    assert run(words) == FAILED
    assert re.search("onnxruntime 1.24.1 is too old: .*; or give --no-check\n", capsys.readouterr().err)
    (tmp_path / "onnxruntime_openvino-1.24.1.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert run(words) == FAILED
    assert re.search(
        "; pip uninstall .*onnxruntime-openvino, then pip install .*; or give --deform-conv openvino or --no-check\n",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(("closed", "reason"), [(False, "file name too long"), (True, "permission denied")])
def test_a_file_that_cannot_be_looked_at_is_no_place_for_an_export(closed, reason, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr("birefnet_batch.engines.onnx_export.export.write_onnx", None)
    target = close(tmp_path / "closed", monkeypatch) / "demo.onnx" if closed else too_long(tmp_path)
    assert run(["export", "demo", "256x256", "--output", str(target)]) == FAILED
    assert f"{target} cannot be written: {reason}; choose another --output" in capsys.readouterr().err


def test_a_name_too_long_for_an_unfinished_export_is_one_clear_error(tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(
        "birefnet_batch.engines.onnx_export.export.write_onnx", lambda partial, *_: partial.write_bytes(b"")
    )
    target = tmp_path / ("x" * 255)
    assert run(["export", "demo", "256x256", "--output", str(target)]) == FAILED
    assert f"{target} cannot be written: file name too long; choose another --output" in capsys.readouterr().err
