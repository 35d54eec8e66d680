"""The program for machines with a GPU runs to its end: such a machine is lent for minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "gpu_check"


@pytest.mark.slow
def test_every_row_that_needs_no_gpu_is_measured() -> None:
    words = ["--device", "cpu", "--seconds", "0", "--size", "64", "--network", "demo", "--batches", "1"]
    # The other groups need one.
    words += ["--only", "torch,frames,foreground,onnxruntime,pipeline"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("| ")}
    stages = [f"1920x1080 frames to bytes for encoders, {way}" for way in ("one by one", "overlapping")]
    for name in ("torch fp32, prepared", "onnxruntime cpu fp32 native", "foreground estimation 1920x1080", *stages):
        assert "left out" not in rows[name]
    assert " frames/s, " in rows["pipeline, demo model, one clip"]
