"""What is in the key of an engine's file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import FrameType

import pytest
import torch
from safetensors.torch import load_file

import birefnet_batch
from birefnet_batch.engines import artifact
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, locate_weights

PACKAGE = Path(birefnet_batch.__file__).parent
DEMO = find_model("demo")
# What judges checkpoints, what gives networks their first numbers, and the version in the metadata.
DECIDES_NOTHING = {
    *(f"models/{name}.py" for name in ("weights", "checkpoint_numbers", "foreign_file", "safetensors_header")),
    *(f"models/{name}.py" for name in ("pickle_steps", "folding")),
    "versions.py",
}


def run_to_write(path: Path, weights: WeightsFile) -> set[str]:
    """The modules of ours of which a function runs while an ONNX file is written."""
    from birefnet_batch.engines.onnx_export.export import write_onnx

    ran: set[str] = set()
    before = sys.gettrace()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code.co_name != "<module>":
            ran.add(frame.f_code.co_filename)

    sys.settrace(note)
    try:
        write_onnx(path, DEMO, weights, 64, 64, "fp32", "native")
    finally:
        sys.settrace(before)
    return {str(Path(name).relative_to(PACKAGE)) for name in ran if Path(name).is_relative_to(PACKAGE)}


def test_an_engine_has_another_key_when_a_module_has_changed_that_decides_its_bytes(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    shipped = locate_weights(DEMO)
    torch.save(load_file(str(shipped.path)), tmp_path / "demo.pth")
    # Some functions run when their module is first imported.
    run_to_write(tmp_path / "model.onnx", shipped)
    ran = run_to_write(tmp_path / "model.onnx", shipped)
    ran |= run_to_write(tmp_path / "model.onnx", WeightsFile(tmp_path / "demo.pth", "0" * 64, ""))
    assert ran > {"models/swin.py", "models/derived_buffers.py", "models/pickled.py", *DECIDES_NOTHING}
    for room in ("engines", "models"):
        shutil.copytree(PACKAGE / room, tmp_path / room, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    monkeypatch.setattr(artifact, "_PACKAGE", tmp_path)
    for name in sorted(ran - DECIDES_NOTHING):
        before = [artifact.source_digest.__wrapped__(kind) for kind in ("onnx", "plan")]
        with (tmp_path / name).open("a") as module:
            module.write("# changed\n")
        after = [artifact.source_digest.__wrapped__(kind) for kind in ("onnx", "plan")]
        assert not set(before) & set(after), name
