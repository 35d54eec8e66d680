"""The program for machines with a GPU runs to its end: such a machine is lent for minutes."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from gpu_checks import engines
from gpu_checks.groups import run_groups
from gpu_checks.kernels import LAUNCHES, WIDTHS, Launched
from gpu_checks.table import BASELINE, Table, network_of, read_rows
from plain_birefnet import PlainBiRefNet

from birefnet_batch.engines.cuda_network import CudaOptions

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "gpu_check"
# What this package depends on beside torch, NumPy and PyYAML, and what it can use.
OTHERS = (
    *("av", "boto3", "filelock", "fsspec", "httpx", "huggingface_hub", "hydra", "llvmlite", "ml_dtypes", "numba"),
    *("omegaconf", "onnx", "PIL", "platformdirs", "psutil", "pyarrow", "pydantic", "ray", "rich", "safetensors"),
)


def table_of(folder: Path, **changes: object) -> Table:
    options = {"device": "cpu", "network": "demo", "size": 64, "batches": [1], "seconds": 0.0, "onnx": None}
    return Table(Namespace(scratch=folder, **{**options, **changes}))


def test_onnx_runtime_s_rows_need_nothing_beside_torch_numpy_yaml_and_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    without = f"import sys; sys.modules.update(dict.fromkeys({OTHERS}))"
    wanted = "from birefnet_batch.engines.onnx_session import left_to_cpu, open_session, require_provider, run_on_gpu"
    code = f"{without}; import torch, onnxruntime; {wanted}; require_provider('cpu')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_python_without_torch_is_told_what_is_needed() -> None:
    # -S: without what is installed.
    words = [sys.executable, "-S", SCRIPT, "--device", "cpu"]
    done = subprocess.run(words, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"gpu_check needs torch and numpy and pyyaml, which .* does not have; pip.*\n", done.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batches", "0"], "argument --batches: '0' is no whole number of at least 1"),
        (["--batches", "x"], "argument --batches: 'x' is no whole number of at least 1"),
        (["--size", "100"], "argument --size: '100' is no multiple of 32"),
        (["--frame", "1920"], "argument --frame: '1920' is no WIDTHxHEIGHT"),
    ],
)
def test_wrong_words_are_named_before_anything_is_measured(monkeypatch, capsys, words, message) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", *words])
    main = runpy.run_path(str(SCRIPT))["main"]
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_provider_is_found_before_its_file_is_written(tmp_path, monkeypatch) -> None:
    def export(*_: object) -> Path:
        raise AssertionError("a file of a large network takes a minute")

    monkeypatch.setattr(engines, "onnx_file", export)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    engines.onnxruntime_checks(table_of(tmp_path, device="cuda"))
    rows = read_rows(tmp_path)
    assert len(rows) == 3
    assert all("needs onnxruntime, which is not installed" in row[3] for row in rows), rows


def test_the_baseline_is_the_network_as_its_definition_reads(tmp_path) -> None:
    table = table_of(tmp_path, network="swin_v1_t")
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    run = engines._plain(table)
    (network,) = (cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, torch.nn.Module))
    assert isinstance(network, PlainBiRefNet)
    with torch.inference_mode():
        wanted = network_of(table, "fp32")(images).sigmoid()
    assert (run(images).float().sigmoid() - wanted).abs().mean() < 0.02


@pytest.mark.slow
def test_every_row_that_needs_no_gpu_is_measured() -> None:
    words = ["--device", "cpu", "--seconds", "0", "--size", "64", "--frame", "320x180", "--batches", "1"]
    words += ["--network", "demo"]
    # The other groups need one.
    words += ["--only", "torch,frames,foreground,onnxruntime,pipeline"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("| ")}
    stages = [f"320x180 frames to bytes for encoders, {way}" for way in ("one by one", "overlapping")]
    fused = "foreground 640x360: compiled/plain, ms"
    for name in ("torch fp32, prepared", "onnxruntime cpu fp32 native", fused, *stages):
        assert "left out" not in rows[name]
    for kind in ("video", "mask"):
        assert "max 0 of 255 in 0 of 6 frames" in rows[f"{kind}: overlapping against one by one"]
    assert " frames/s, " in rows["pipeline, demo model, one clip"]


def test_a_missing_triton_is_found_before_minutes_of_compilation(tmp_path, monkeypatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled.append(network) or network)
    # There is no kernel for tensors of a CPU.
    engines._ours(table_of(tmp_path), "fp32", "compiled", 1, CudaOptions(graph=False, compile=True))
    (row,) = read_rows(tmp_path)
    assert row[2:4] == ["left out", "RuntimeError: triton cannot make its kernel here; the group triton says why"]
    assert compiled == []


def test_no_other_row_takes_the_place_of_a_baseline_that_did_not_fit(tmp_path) -> None:
    table = table_of(tmp_path)
    assert table.beside_baseline("torch fp16, all of it", 8, 30.0) == "no baseline"
    assert table.beside_baseline(BASELINE, 1, 10.0) == "1.00x"
    assert table.beside_baseline("torch fp16, all of it", 1, 25.0) == "2.50x"
    assert table.beside_baseline("torch fp16, prepared", 8, 20.0) == "no baseline"


def test_all_groups_together_take_no_longer_than_they_may(tmp_path) -> None:
    def command(name: str) -> list[str]:
        return ["sleep", "0" if name == "quick" else "600"]

    run_groups(["quick", "endless", "later"], command, tmp_path, limit=600, total=2)
    rows = [(row[0], row[3]) for row in read_rows(tmp_path)]
    assert rows == [
        ("the rest of endless", "its processes were ended after 2 s"),
        ("later", "the time of --total was over"),
    ]


def test_a_group_takes_no_longer_than_its_own_limit(tmp_path) -> None:
    run_groups(["endless", "quick"], lambda name: ["sleep", "600" if name == "endless" else "0"], tmp_path, 1, 600)
    assert [row[0] for row in read_rows(tmp_path)] == ["the rest of endless"]


# In a process of its own: the interpreter is chosen when triton is imported.
INTERPRETED = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
from argparse import Namespace
from pathlib import Path
from gpu_checks import kernels
from gpu_checks.table import Table
kernels.SIDES, kernels.IMAGES = (1,), 1
kernels.triton_checks(Table(Namespace(scratch=Path(sys.argv[1]), device="cpu", size=32, seconds=0.0)))
"""


def test_the_kernel_is_measured_in_each_way_that_it_can_be_launched(tmp_path) -> None:
    pytest.importorskip("triton", reason="triton has no build for this machine")
    told = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"}
    command = [sys.executable, "-c", INTERPRETED, str(tmp_path)]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path)
    assert len(rows) == 2 + 2 * len(WIDTHS) + len(LAUNCHES)
    assert not any("left out" in row for row in rows), rows


def test_a_kernel_s_launch_is_given_other_options_than_its_caller_s() -> None:
    given = []

    class Kernel:
        def __getitem__(self, grid: object) -> object:
            return lambda *arguments, **options: given.append((grid, arguments, options)) or "compiled"

    launched = Launched(Kernel(), num_warps=8)
    assert launched[(3,)]("image", channels=64, num_warps=4) == "compiled"
    assert given == [((3,), ("image",), {"channels": 64, "num_warps": 8})]
    assert launched.compiled == "compiled"


@pytest.mark.slow
def test_what_was_measured_is_printed_when_it_is_ended_and_nothing_runs_on() -> None:
    words = ["--device", "cpu", "--seconds", "0", "--size", "64", "--network", "demo", "--batches", "1,2"]
    program = subprocess.Popen([sys.executable, SCRIPT, *words], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    shown = ""
    while "the baseline" not in shown:
        shown = program.stdout.readline()
        assert shown, "it ended by itself"
    program.send_signal(signal.SIGTERM)
    # The groups write to the same pipe: it has no end while one of them lives.
    rest, _ = program.communicate(timeout=60)
    assert program.returncode == 128 + signal.SIGTERM
    rows = [line for line in rest.splitlines() if line.startswith("| ")]
    assert any(line.startswith("| torch eager, plain (the baseline) | 1 | ") for line in rows), rest
    assert rows[-1] == "| the rest of torch |  | left out | the program was ended |  |"
