"""From an ONNX file to a compiled plan; the same code for TensorRT and TensorRT-RTX.

Networks are strongly typed: precision is the ONNX file's, nothing is chosen here. TensorRT compiles for the GPU that
is there; TensorRT-RTX needs none, and is told the compute capabilities.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_batch.engines.build_log import make_monitor
from birefnet_batch.engines.tensorrt_module import TensorRT, listener_of
from birefnet_batch.errors import EngineError
from birefnet_batch.refusals import one_line
from birefnet_batch.storage.durable import write_whole

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanProfile:
    """What a plan has to take."""

    width: int
    height: int
    batch: int
    """The largest batch; it is compiled for this one and takes smaller ones."""
    workspace_bytes: int | None = None
    """Memory that a layer may use while it runs; None leaves the library's own limit, the device's memory."""
    capabilities: tuple[str, ...] = ()
    """TensorRT-RTX: which GPUs, as SM75, SM80, SM86, SM89, SM120; none is the one that is there."""


def build_plan(
    library: TensorRT, onnx_file: Path, destination: Path, profile: PlanProfile, timing_cache: Path | None = None
) -> dict[str, Any]:
    """Compile.

    Args:
        library: which library.
        onnx_file: an ONNX file with `image` and `logits`, of the decomposed form.
        destination: the plan's file; not atomic, the caller renames.
        profile: sizes and limits.
        timing_cache: measurements of earlier builds, read and written; TensorRT only.

    Returns:
        How many layers the network has, and the plan's size.

    Raises:
        EngineError: the library cannot parse or build it; the message names the layer.
    """
    monitor = make_monitor(library)
    # The library swallows what its callbacks raise, and in the thread that it runs in a signal is seen only in them.
    with ThreadPoolExecutor(1) as thread:
        try:
            # With a name here its result would be in a circle with the builder's frame, and keep a GPU's memory.
            return thread.submit(_build_plan, library, onnx_file, destination, profile, timing_cache, monitor).result()
        except BaseException:
            monitor.stop()
            raise


def _build_plan(
    library: TensorRT,
    onnx_file: Path,
    destination: Path,
    profile: PlanProfile,
    timing_cache: Path | None,
    monitor: Any,
) -> dict[str, Any]:
    trt, listener = library.module, listener_of(library)
    builder = trt.Builder(listener)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, listener)
    if not parser.parse(onnx_file.read_bytes()):
        problems = [_parser_problem(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(f"{library.name} {library.version} cannot read {onnx_file.name}: {_joined(problems)}")
    sample_linearly(library, network)
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    smallest, largest = ((batch, 3, profile.height, profile.width) for batch in (1, profile.batch))
    shapes.set_shape("image", smallest, largest, largest)
    config.add_optimization_profile(shapes)
    if profile.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, profile.workspace_bytes)
    # What is asked for in float32 is computed in it.
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.rtx:
        _set_capabilities(trt, config, profile.capabilities)
    cache = None if library.rtx or timing_cache is None else _timing_cache(config, timing_cache)
    config.progress_monitor = monitor
    _log.info("%s compiles %d layers", library.name, network.num_layers)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{library.name} {library.version} cannot build {onnx_file.name}: "
            f"{_joined(listener.errors) or 'it gave no reason'}"
        )
    destination.write_bytes(plan)
    if cache is not None and timing_cache is not None:
        _keep(cache, config, timing_cache)
    return {"layers": network.num_layers, "bytes": destination.stat().st_size}


def sample_linearly(library: TensorRT, network: Any) -> None:
    """Let each GridSample be linear, as our files say.

    Parsers before 2026's know the mode by its name until opset 19 alone, and take the nearest pixel for the newer one
    without a word (NVIDIA/TensorRT issue 4646, onnx-tensorrt pull request 1060).
    """
    trt = library.module
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.GRID_SAMPLE:
            # The module gives each layer as one of no kind.
            layer.__class__ = trt.IGridSampleLayer
            layer.interpolation_mode = trt.InterpolationMode.LINEAR


def _parser_problem(error: Any) -> str:
    return f"node {error.node_name()} ({error.node_operator()}): {one_line(error.desc())}"


def _joined(problems: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(problems))[:600]


def _set_capabilities(trt: Any, config: Any, names: tuple[str, ...]) -> None:
    wanted = [getattr(trt.ComputeCapability, name) for name in names or ("CURRENT",)]
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        config.set_compute_capability(capability, index)


def _timing_cache(config: Any, path: Path) -> Any:
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    # Damaged ones are None; one of another device or version is refused here. Either is started anew.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _keep(cache: Any, config: Any, path: Path) -> None:
    """Write what was measured, together with what other processes measured meanwhile."""
    from birefnet_batch.file_locks import file_lock

    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_suffix(".lock")):
        others = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
        if others is not None:
            cache.combine(others, True)
        write_whole(path, cache.serialize())
