"""The program that measures engines runs to its end: a machine with a GPU is lent for minutes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import bench_engine
import pytest

from birefnet_batch.engines.torch_engine import DTYPES

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench_engine.py"


@pytest.mark.slow
def test_each_engine_has_its_row_and_what_cannot_be_had_its_reason() -> None:
    words = ["--model", "demo", "--resolution", "256x256", "--batches", "1", "--rounds", "1"]
    words += ["--engines", "onnxruntime/cpu:fp32,onnxruntime/openvino:fp32,torch+compile:fp32"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    for part in ("build ", ", open ", " s a batch, ", " frames/s, error ", " GiB"):
        assert part in rows["onnxruntime/cpu:fp32"]
    assert "engine.provider=openvino cannot be had" in rows["onnxruntime/openvino:fp32"]
    assert "engine.compile=true is for torch on CUDA" in rows["torch+compile:fp32"]


def test_weights_that_are_not_there_are_the_reason_of_each_row_and_nothing_measured_is_a_failure() -> None:
    words = ["--model", "demo", "--engines", "torch:fp32", "--weights", "nowhere.pth"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^torch:fp32 +batch 1: weights.demo=nowhere.pth does not exist; give", done.stdout, re.M)


def test_each_precision_that_a_cpu_has_is_measured_by_default() -> None:
    wanted = {f"torch:{precision}" for precision in DTYPES}
    # ONNX Runtime has no bf16 there.
    wanted |= {f"onnxruntime/cpu:{precision}" for precision in ("fp32", "fp16")}
    assert wanted <= set(bench_engine.ON_A_CPU)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engines", "torch"], "'torch' is no ENGINE:PRECISION; engines are torch, onnxruntime, tensorrt, "),
        (["--engines", "torch:fp32,torch:fp64"], "'torch:fp64' is no ENGINE:PRECISION"),
        (["--engines", "onnxruntime/foo:fp32"], "precisions fp32, fp16, bf16"),
        (["--model", "nosuch"], "invalid choice: 'nosuch'"),
        (["--rounds", "0"], "'0' is no whole number of at least 1"),
        (["--threads", "-1"], "'-1' is no whole number of at least 1"),
        (["--batches", "1,0"], "'0' is no whole number of at least 1"),
        (["--resolution", "100x100"], "'100' is no multiple of 32"),
        (["--resolution", "wide"], "'wide' is no WIDTHxHEIGHT"),
    ],
)
def test_wrong_words_are_named_before_anything_is_measured(monkeypatch, capsys, words, message) -> None:
    monkeypatch.setattr(bench_engine, "in_child", None)
    monkeypatch.setattr(sys, "argv", ["bench_engine.py", *words])
    with pytest.raises(SystemExit) as ended:
        bench_engine.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
