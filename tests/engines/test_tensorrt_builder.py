"""Plans are compiled from our ONNX files by the code that TensorRT runs; TensorRT-RTX does it without a GPU."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from filled import filled_arrays
from reference import REFERENCE

from birefnet_batch import engines
from birefnet_batch.engines import build_log, open_engine
from birefnet_batch.engines.onnx_export.network import network_model
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_plan import stored_plan
from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan
from birefnet_batch.engines.tensorrt_module import TensorRT
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, locate_weights

DEMO = find_model("demo")
CARD = ("SM89",)


@pytest.fixture(scope="module")
def rtx() -> TensorRT:
    return TensorRT(pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no build for this machine"), rtx=True)


def onnx_file(folder: Path, network: str, width: int, height: int, precision: str, form: str = "gridsample") -> Path:
    path = folder / "model.onnx"
    model = network_model(network, filled_arrays(network), width, height, precision, form, {})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("network", "width", "height", "precision"),
    [
        ("demo", 96, 64, "fp32"),
        pytest.param("swin_v1_t", 256, 256, "fp32", marks=pytest.mark.slow),
        pytest.param("swin_v1_t", 256, 256, "fp16", marks=pytest.mark.slow),
    ],
)
def test_a_plan_is_built_of_each_network_and_precision(rtx, tmp_path, network, width, height, precision):
    source = onnx_file(tmp_path, network, width, height, precision)
    facts = build_plan(rtx, source, tmp_path / "plan", PlanProfile(width, height, batch=4, capabilities=CARD))
    assert facts["bytes"] == (tmp_path / "plan").stat().st_size > 1e6
    # Traced, swin_v1_t alone makes about 10,000.
    assert 500 < facts["layers"] < 2300


def test_a_build_that_takes_long_says_how_far_it_is(rtx, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(build_log, "EVERY_S", 0.0)
    caplog.set_level("INFO")
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=CARD))
    lines = [record.getMessage() for record in caplog.records if record.name == build_log.__name__]
    assert lines
    for line in lines:
        assert re.match(r"tensorrt_rtx compiles since \d+ s: .+ \d+ of \d+", line)


def test_what_cannot_be_parsed_is_named_by_its_node(rtx, tmp_path):
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32", form="native")
    with pytest.raises(EngineError, match=r"cannot read model.onnx: node deformconv_\d+ \(DeformConv\)"):
        build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=CARD))
    assert not (tmp_path / "plan").exists()


def test_an_unknown_card_is_refused_with_those_there_are(rtx, tmp_path):
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    with pytest.raises(EngineError, match="does not compile for SM90; it knows .*SM89"):
        build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=("SM90",)))


def test_a_stored_plan_is_built_once_and_then_needs_no_weights(rtx, tmp_path):
    store = EngineStore(tmp_path)
    known = locate_weights(DEMO)
    path = stored_plan(store, rtx, DEMO, known, (64, 64), "fp16", batch=2, capabilities=CARD)
    gone = WeightsFile(known.path.with_name("gone"), known.sha256, known.source)
    assert stored_plan(store, rtx, DEMO, gone, (64, 64), "fp16", batch=2, capabilities=CARD) == path
    kinds = {entry.artifact["kind"]: entry for entry in store.entries()}
    assert set(kinds) == {"onnx", "plan"}
    assert kinds["plan"].artifact["libraries"] == {"tensorrt_rtx": rtx.version}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_before_anything_is_built(rtx, tmp_path):
    with pytest.raises(EngineError, match="finds no GPU"):
        open_engine(
            "tensorrt", model=DEMO, weights=locate_weights(DEMO), width=64, height=64, store=EngineStore(tmp_path)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_tensorrt_is_told_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"cannot be had .*pip install 'birefnet-batch\[tensorrt\]'"):
        open_engine("tensorrt", model=DEMO, weights=locate_weights(DEMO), width=64, height=64)


SOURCES = ("tensorrt_builder.py", "plan_runner.py", "tensorrt_module.py")
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "_engine": "ICudaEngine",
    "_runtime": "Runtime",
}
# What only TensorRT-RTX has; checked against the module itself.
RTX_ONLY = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}


def test_the_names_that_are_used_are_those_that_tensorrt_11_has():
    known: dict[str, set[str]] = {}
    for line in (REFERENCE / "tensorrt_11_api.txt").read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind in ("TOP", "CLS", "ENUM"):
            name, _, listed = ("TOP", "", rest) if kind == "TOP" else rest.partition(" ")
            known[name] = set(ast.literal_eval(listed))
    folder = Path(engines.__file__).parent
    checked = 0
    for source in SOURCES:
        for node in ast.walk(ast.parse((folder / source).read_text())):
            if not isinstance(node, ast.Attribute) or node.attr in RTX_ONLY:
                continue
            base = node.value
            owner = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            if owner in ("trt", "module"):
                assert node.attr in known["TOP"] | {"__version__"}, f"{source}: {owner}.{node.attr}"
            elif owner in CLASSES:
                assert node.attr in known[CLASSES[owner]], f"{source}: {owner}.{node.attr}"
            elif owner in ("NetworkDefinitionCreationFlag", "MemoryPoolType"):
                assert node.attr in known[owner], f"{source}: {owner}.{node.attr}"
            else:
                continue
            checked += 1
    assert checked > 20


def test_what_only_the_other_library_has_is_there(rtx):
    assert hasattr(rtx.module, "ComputeCapability")
    assert hasattr(rtx.module.IBuilderConfig, "set_compute_capability")
    assert hasattr(rtx.module.IBuilderConfig, "num_compute_capabilities")
