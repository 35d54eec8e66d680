"""A stored engine opens without what made it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from birefnet_batch.engines import open_engine
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights

PROCESS = """
import sys
from pathlib import Path
from birefnet_batch.engines import open_engine
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile
weights = WeightsFile(Path("/nowhere/model.safetensors"), sys.argv[2], "")
with open_engine(
    "onnxruntime", model=find_model("demo"), weights=weights, width=64, height=64, device="cpu",
    store=EngineStore(Path(sys.argv[1])),
) as engine:
    pass
package = "birefnet_batch"
exporters = ("onnx", f"{package}.engines.onnx_export", f"{package}.models.birefnet", "safetensors")
print(*(name for name in exporters if name in sys.modules), sep=",")
"""


def test_opening_a_stored_engine_imports_no_exporter_and_reads_no_weights(tmp_path):
    pytest.importorskip("onnxruntime")
    demo = find_model("demo")
    weights = locate_weights(demo)
    store = EngineStore(tmp_path)
    with open_engine("onnxruntime", model=demo, weights=weights, width=64, height=64, device="cpu", store=store):
        pass
    command = [sys.executable, "-c", PROCESS, str(tmp_path), weights.sha256]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_torch_opens_without_the_other_libraries(tmp_path):
    code = PROCESS.replace('"onnxruntime", model', '"torch", model').replace(
        'weights = WeightsFile(Path("/nowhere/model.safetensors"), sys.argv[2], "")',
        'from birefnet_batch.models.weights import locate_weights; weights = locate_weights(find_model("demo"))',
    )
    code = code.replace(
        'exporters = ("onnx",', 'exporters = ("onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "triton",'
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "birefnet_batch.models.birefnet,safetensors"
