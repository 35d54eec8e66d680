"""Plans are compiled from our ONNX files by the code that TensorRT runs; TensorRT-RTX does it without a GPU."""

from __future__ import annotations

import ast
import gc
import logging
import re
import signal
import sys
import threading
import weakref
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from filled import filled_arrays
from reference import REFERENCE

from birefnet_batch import engines, engines_command
from birefnet_batch.engines import build_log, open_engine, plan_check, plan_limits, tensorrt_builder
from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.engines.onnx_export.network import network_model
from birefnet_batch.engines.plan_limits import largest_batch
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_plan import plan_device, stored_plan
from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan
from birefnet_batch.engines.tensorrt_module import TensorRT, load_tensorrt
from birefnet_batch.errors import EngineError, EngineMemoryError
from birefnet_batch.exit_status import FAILED, WRONG_USE
from birefnet_batch.models.birefnet import NETWORKS
from birefnet_batch.models.pyramid import ASPP_KERNELS
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, load_network, locate_weights

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
        ("demo", 96, 64, "bf16"),
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


def test_sampling_is_linear_whatever_the_parser_made_of_it(rtx, tmp_path):
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    # What parsers make of the mode's newer name.
    model = onnx.load(source)
    samplers = [node for node in model.graph.node if node.op_type == "GridSample"]
    for node in samplers:
        next(item for item in node.attribute if item.name == "mode").s = b"nearest"
    trt = rtx.module
    listener = tensorrt_builder.listener_of(rtx)
    builder = trt.Builder(listener)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, listener)
    assert parser.parse(model.SerializeToString())

    def modes() -> list[Any]:
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        found = [layer for layer in layers if layer.type == trt.LayerType.GRID_SAMPLE]
        for layer in found:
            layer.__class__ = trt.IGridSampleLayer
        return [layer.interpolation_mode for layer in found]

    assert modes() == [trt.InterpolationMode.NEAREST] * len(samplers) != []
    tensorrt_builder.sample_linearly(rtx, network)
    assert modes() == [trt.InterpolationMode.LINEAR] * len(samplers)


def test_a_build_that_takes_long_says_how_far_it_is(rtx, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(build_log, "EVERY_S", 0.0)
    caplog.set_level("INFO")
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=CARD))
    lines = [record.getMessage() for record in caplog.records if record.name == build_log.__name__]
    assert lines
    for line in lines:
        assert re.match(r"tensorrt_rtx compiles since \d+ s: .+ \d+ of \d+", line)


def test_ctrl_c_ends_a_build_at_its_next_step_and_says_so(rtx, tmp_path, monkeypatch):
    said = []

    class Pressed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if len(said) == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    pressed, log = Pressed(), logging.getLogger(build_log.__name__)
    monkeypatch.setattr(build_log, "EVERY_S", 0.0)
    monkeypatch.setattr(log, "level", logging.INFO)
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    log.addHandler(pressed)
    try:
        with pytest.raises(KeyboardInterrupt):
            build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=CARD))
    finally:
        log.removeHandler(pressed)
    assert "tensorrt_rtx gives up when its step ends, which takes seconds" in said
    assert not (tmp_path / "plan").exists()


def test_what_cannot_be_parsed_is_named_by_its_node(rtx, tmp_path):
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32", form="native")
    with pytest.raises(EngineError, match=r"cannot read model.onnx: node deformconv_\d+ \(DeformConv\)"):
        build_plan(rtx, source, tmp_path / "plan", PlanProfile(64, 64, batch=1, capabilities=CARD))
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize("card", ["SM90", "sm89", "8.9", ""])
def test_an_unknown_card_is_refused_with_those_there_are_before_anything_is_built(rtx, tmp_path, capsys, card):
    words = ["build", "demo", "--store", str(tmp_path / "store"), "--compute-capability", card]
    assert engines_command.run([*words, "--compute-capability", "SM89"]) == WRONG_USE
    assert f"does not compile for {card!r}; give SM120 or " in capsys.readouterr().err
    with pytest.raises(EngineError, match=f"does not compile for '{card}'; give SM120 or .*SM89"):
        stored_plan(EngineStore(tmp_path / "store"), rtx, DEMO, locate_weights(DEMO), (64, 64), "fp16", 1, None, card)
    assert list(tmp_path.iterdir()) == []


def test_a_stored_plan_is_built_once_and_then_needs_no_weights_and_no_name_of_its_gpu(rtx, tmp_path, monkeypatch):
    store = EngineStore(tmp_path)
    known = locate_weights(DEMO)
    path = stored_plan(store, rtx, DEMO, known, (64, 64), "fp16", batch=2, capability="SM89")
    gone = WeightsFile(known.path.with_name("gone"), known.sha256, known.source)
    assert stored_plan(store, rtx, DEMO, gone, (64, 64), "fp16", batch=2, capability="SM89") == path
    kinds = {entry.artifact["kind"]: entry for entry in store.entries()}
    assert set(kinds) == {"onnx", "plan"}
    assert kinds["plan"].artifact["libraries"] == {"tensorrt_rtx": rtx.version}
    # As on the machine that has that GPU.
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    assert stored_plan(store, rtx, DEMO, gone, (64, 64), "fp16", batch=2) == path


def test_a_plan_of_this_machine_is_compared_with_torch_before_it_has_a_name(rtx, tmp_path, monkeypatch):
    def compiled(library: Any, source: Path, path: Path, *_: Any) -> dict[str, Any]:
        path.write_text("plan")
        return {}

    def check(plan: Path, *given: Any, graph: bool) -> str:
        checked.append(plan)
        if len(checked) == 1:
            raise EngineError("the plan differs from torch")
        return "logits max 0"

    checked: list[Path] = []
    monkeypatch.setattr(tensorrt_builder, "build_plan", compiled)
    monkeypatch.setattr(plan_check, "check_plan", check)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    store, asked = EngineStore(tmp_path), (DEMO, locate_weights(DEMO), (64, 64), "fp16", 2)
    with pytest.raises(EngineError, match="differs from torch"):
        stored_plan(store, rtx, *asked)
    assert [entry.artifact["kind"] for entry in store.entries()] == ["onnx"]
    path = stored_plan(store, rtx, *asked)
    assert path.read_text() == "plan"
    assert path not in checked
    (facts,) = (entry.facts for entry in store.entries() if entry.artifact["kind"] == "plan")
    assert facts["facts"]["against_torch"] == "logits max 0"


def test_a_plan_of_this_size_is_built_for_as_many_frames_as_tensorrt_s_tensors_hold(rtx, tmp_path):
    light_2k = find_model("light_2k")
    for name, config in NETWORKS.items():
        assert plan_limits._CHANNELS[name] == config.last_inner
    assert max(ASPP_KERNELS) ** 2 == plan_limits._TAPS
    assert largest_batch(light_2k, (1024, 1024)) == 10
    assert largest_batch(light_2k, (2560, 1440)) == 2
    weights = locate_weights(DEMO)
    with pytest.raises(EngineMemoryError, match=r"batches of 4 frames of light_2k at 2560x1440 .*engine.batch_size=2"):
        stored_plan(EngineStore(tmp_path), rtx, light_2k, weights, (2560, 1440), "fp16", 4, capability="SM89")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_tensorrt_is_of_one_gpu_and_one_generation_of_drivers(rtx, monkeypatch):
    class Driver:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            version._obj.value = 13010
            return 0

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr("ctypes.CDLL", lambda name: Driver())
    card = {"name": "NVIDIA H100", "compute_capability": "9.0", "cuda": "13"}
    assert plan_device(TensorRT(rtx.module, rtx=False)) == card
    # TensorRT-RTX has no name for this capability.
    assert plan_device(rtx) == card


def test_tensorrt_files_no_plan_of_this_gpu_under_the_name_of_another(rtx):
    with pytest.raises(EngineError, match="not for SM89 without one: leave out --compute-capability"):
        plan_device(TensorRT(rtx.module, rtx=False), "SM89")


def test_plans_are_built_ahead_by_the_program_for_each_gpu_that_is_named(rtx, tmp_path, capsys, monkeypatch):
    def compiled(library: Any, source: Path, path: Path, profile: PlanProfile, cache: Path) -> dict[str, Any]:
        path.write_text(f"{profile}")
        return {}

    # Compiling is tested above.
    monkeypatch.setattr(tensorrt_builder, "build_plan", compiled)
    (tmp_path / "matrix.yaml").write_text(
        "- {model: demo, resolution: 256x256, engine: tensorrt, precision: fp16, batch_size: 2}\n"
    )
    words = ["build", "--matrix", str(tmp_path / "matrix.yaml"), "--store", str(tmp_path / "store")]
    words += ["--compute-capability", "SM86", "--compute-capability", "SM89", "--workspace-gib", "2"]
    assert engines_command.run(words) == 0
    assert re.search(r"demo 256x256 fp16.* for SM86: .*\n.* for SM89: ", capsys.readouterr().out)
    plans = [entry.artifact for entry in EngineStore(tmp_path / "store").entries() if entry.artifact["kind"] == "plan"]
    assert {plan["device"]["compute_capability"] for plan in plans} == {"SM86", "SM89"}
    assert {plan["options"]["workspace_bytes"] for plan in plans} == {2 << 30}


def test_a_plan_that_cannot_be_built_costs_those_for_other_gpus_nothing(rtx, tmp_path, capsys, monkeypatch):
    def compiled(library: Any, source: Path, path: Path, profile: PlanProfile, cache: Path) -> dict[str, Any]:
        if profile.capabilities == ("SM86",):
            raise EngineError("it gave no reason")
        path.write_text("plan")
        return {}

    monkeypatch.setattr(tensorrt_builder, "build_plan", compiled)
    (tmp_path / "matrix.yaml").write_text("- {model: demo, resolution: 256x256, engine: tensorrt}\n")
    words = ["build", "--matrix", str(tmp_path / "matrix.yaml"), "--store", str(tmp_path / "store")]
    assert engines_command.run([*words, "--compute-capability", "SM86", "--compute-capability", "SM89"]) == FAILED
    said = capsys.readouterr().out
    assert " fp16 for SM86: failed: it gave no reason\n" in said
    assert re.search(r" fp16 for SM89: [0-9a-f]{32}, ", said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_before_anything_is_built(rtx, tmp_path):
    told = r"^engine.name=tensorrt was asked for, but torch .* finds no GPU; give engine=torch, .*install 'torch>=2"
    with pytest.raises(EngineError, match=told):
        open_engine(
            "tensorrt", model=DEMO, weights=locate_weights(DEMO), width=64, height=64, store=EngineStore(tmp_path)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_tensorrt_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"cannot be had .*pip install 'birefnet-batch\[tensorrt\]'"):
        open_engine("tensorrt", model=DEMO, weights=locate_weights(DEMO), width=64, height=64)


SOURCES = ("tensorrt_builder.py", "plan_runner.py", "compiled_kernels.py", "tensorrt_module.py", "build_log.py")
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
# What only TensorRT-RTX has, by the class that has it; checked against the module itself.
RTX_ONLY = {
    "": ("ComputeCapability", "CudaGraphStrategy", "DynamicShapesKernelSpecializationStrategy"),
    "IBuilderConfig": ("num_compute_capabilities", "set_compute_capability"),
    "ICudaEngine": ("create_runtime_config",),
    "IRuntimeConfig": (
        *("cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy"),
        *("create_runtime_cache", "set_runtime_cache"),
    ),
    "DynamicShapesKernelSpecializationStrategy": ("EAGER",),
    "IRuntimeCache": ("deserialize", "serialize"),
    "CudaGraphStrategy": ("WHOLE_GRAPH_CAPTURE", "DISABLED"),
}
# The list has no members of these; TensorRT-RTX's have the same names.
UNLISTED = {
    "ITimingCache": ("combine", "serialize"),
    "ParserError": ("node_name", "node_operator", "desc"),
    "IOptimizationProfile": ("set_shape",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "ILogger": ("log", "ERROR", "INTERNAL_ERROR"),
}


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
            if not isinstance(node, ast.Attribute) or any(node.attr in names for names in RTX_ONLY.values()):
                continue
            base = node.value
            owner = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            if owner in ("trt", "module"):
                assert node.attr in known["TOP"] | {"__version__"}, f"{source}: {owner}.{node.attr}"
            elif owner in CLASSES:
                assert node.attr in known[CLASSES[owner]], f"{source}: {owner}.{node.attr}"
            elif owner in ("NetworkDefinitionCreationFlag", "MemoryPoolType", "BuilderFlag"):
                assert node.attr in known[owner], f"{source}: {owner}.{node.attr}"
            else:
                continue
            checked += 1
    assert checked > 20


@pytest.mark.parametrize(("owner", "names"), [*RTX_ONLY.items(), *UNLISTED.items()])
def test_what_the_list_does_not_have_is_in_the_other_library(rtx, owner, names):
    where = getattr(rtx.module, owner) if owner else rtx.module
    assert [name for name in names if not hasattr(where, name)] == []


class MeasuredBefore:
    """TensorRT's measurements, as bytes that say what is in them."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, other: MeasuredBefore, ignore_mismatch: bool) -> bool:
        self.content += other.content
        return True

    def serialize(self) -> bytes:
        return self.content


class Config:
    """A builder's configuration that refuses measurements of another device."""

    def create_timing_cache(self, content: bytes) -> MeasuredBefore | None:
        return None if content == b"damaged" else MeasuredBefore(content)

    def set_timing_cache(self, cache: MeasuredBefore, ignore_mismatch: bool) -> bool:
        return b"other device" not in cache.content


def test_measurements_of_a_build_are_joined_with_those_of_others_meanwhile(tmp_path):
    path = tmp_path / "timing" / "card.cache"
    first, second = (tensorrt_builder._timing_cache(Config(), path) for _ in range(2))
    first.content, second.content = b"a", b"b"
    for cache in (first, second):
        tensorrt_builder._keep(cache, Config(), path)
    assert path.read_bytes() == b"ba"
    assert tensorrt_builder._timing_cache(Config(), path).content == b"ba"


@pytest.mark.parametrize("content", [b"of other device", b"damaged"])
def test_measurements_that_the_library_refuses_are_begun_anew(tmp_path, content):
    path = tmp_path / "card.cache"
    path.write_bytes(content)
    cache = tensorrt_builder._timing_cache(Config(), path)
    assert cache.content == b""
    if content == b"damaged":
        cache.content = b"new"
        tensorrt_builder._keep(cache, Config(), path)
        assert path.read_bytes() == b"new"


def test_a_build_that_fails_gives_the_library_s_own_reason_and_leaves_nothing(rtx, tmp_path):
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    profile = PlanProfile(64, 64, batch=1, workspace_bytes=1024, capabilities=CARD)
    with pytest.raises(EngineError, match=r"cannot build model.onnx: .*OutOfMemory \(Requested size was \d+") as caught:
        build_plan(rtx, source, tmp_path / "plan", profile)
    assert is_out_of_memory(caught.value), "it is tried again with half the batch"
    assert not (tmp_path / "plan").exists()


def test_a_build_that_failed_holds_no_memory_when_it_is_tried_again(rtx, tmp_path, monkeypatch):
    made: list[weakref.ref[Any]] = []

    def monitor(library: TensorRT) -> Any:
        monitor = build_log.make_monitor(library)
        made.append(weakref.ref(monitor))
        return monitor

    monkeypatch.setattr(tensorrt_builder, "make_monitor", monitor)
    source = onnx_file(tmp_path, "demo", 64, 64, "fp32")
    profile = PlanProfile(64, 64, batch=1, workspace_bytes=1024, capabilities=CARD)
    gc.disable()
    try:
        with suppress(EngineError):
            build_plan(rtx, source, tmp_path / "plan", profile)
        # It lives as long as the builder.
        assert [monitor() for monitor in made] == [None]
    finally:
        gc.enable()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-3), ("fp16", 0.01), ("bf16", 0.04)])
def test_a_plan_that_runs_agrees_with_torch(tmp_path, precision, share):
    if not any(map(find_spec, ("tensorrt", "tensorrt_rtx"))):
        pytest.skip("neither TensorRT nor TensorRT-RTX is installed")
    library = load_tensorrt()
    if library.rtx and plan_device(library)["name"] != "any":
        pytest.skip("TensorRT-RTX is for RTX cards, and this GPU is none")
    weights, images = locate_weights(DEMO), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        wanted = load_network(DEMO, weights)(images)
    asked = {"model": DEMO, "weights": weights, "width": 96, "height": 64, "precision": precision, "batch_size": 2}
    with open_engine("tensorrt", **asked, store=EngineStore(tmp_path)) as engine:
        for _ in range(3):
            found = engine.infer(images.cuda()).cpu()
            # Of the logits: in noise there is no subject, and a matte of nothing would be close.
            assert (found - wanted).abs().mean() <= share * wanted.abs().max()
        assert engine.describe()["cuda_graph"]
