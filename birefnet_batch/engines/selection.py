"""From the engine settings to an engine. What was asked for is had, or refused: never another in silence."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.plan_limits import USUAL_BATCH, usual_batch
from birefnet_batch.engines.required import FAMILIES, require, resolve_precision
from birefnet_batch.errors import EngineError
from birefnet_batch.models.precision import MEASURED, precision_warning
from birefnet_batch.models.registry import ModelSpec

if TYPE_CHECKING:
    from birefnet_batch.engines.store import EngineStore
    from birefnet_batch.models.weights import WeightsFile

_log = logging.getLogger(__name__)


def open_engine(
    name: str,
    *,
    model: ModelSpec,
    weights: WeightsFile,
    width: int,
    height: int,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    provider: str = "auto",
    store: EngineStore | None = None,
    workspace_gib: float | None = None,
    compile: bool = False,
    cuda_graph: bool = True,
) -> Engine:
    """An engine for a model at an operating resolution; enter it as a context to use it.

    Args:
        name: auto, torch, onnxruntime or tensorrt.
        model: the model.
        weights: its checkpoint.
        width: operating resolution, pixels.
        height: operating resolution, pixels.
        device: auto, cpu or cuda.
        precision: auto, fp32, fp16 or bf16.
        batch_size: frames a batch; None is 1 on a CPU and 4 on CUDA, or as many of them as TensorRT takes.
        threads: CPU threads; None is the library's own choice, in a container no more than it is given.
        provider: of onnxruntime: auto, cpu, cuda, tensorrt or openvino.
        store: where built engines are; None is the default one.
        workspace_gib: of tensorrt: memory that a layer may use; None is the library's own limit.
        compile: of torch on CUDA: through torch.compile.
        cuda_graph: of torch and tensorrt on CUDA: launch each batch as one CUDA graph.

    Raises:
        EngineError: this machine does not have what was asked for, or no place for the store that it needs.
    """
    if name not in ("auto", *FAMILIES):
        raise EngineError(f"engine.name={name} is not known; give auto or {' or '.join(FAMILIES)}")
    name, resolved = require(name, device=device, precision=precision, provider=provider, compile=compile)
    usual = USUAL_BATCH if resolved == "cuda" else 1
    if name == "tensorrt":
        usual = usual_batch(model, (width, height))
    spec = EngineSpec(
        model=model.short_name,
        width=width,
        height=height,
        precision=resolve_precision(precision, resolved),
        batch_size=batch_size or usual,
        device=resolved,
        threads=threads,
    )
    found = [] if spec.precision == "fp32" else _precision_notes(name, model, weights, spec, store)
    engine = _engine(name, spec, model, weights, provider, store, workspace_gib, compile, cuda_graph)
    engine.notes = tuple(found)
    return engine


def _engine(
    name: str,
    spec: EngineSpec,
    model: ModelSpec,
    weights: WeightsFile,
    provider: str,
    store: EngineStore | None,
    workspace_gib: float | None,
    compile: bool,
    cuda_graph: bool,
) -> Engine:
    resolved = spec.device
    if name == "onnxruntime":
        from birefnet_batch.engines.onnxruntime_engine import OnnxRuntimeEngine
        from birefnet_batch.engines.store import EngineStore

        chosen = resolved if provider == "auto" else provider
        return OnnxRuntimeEngine(spec, model, weights, store or EngineStore(), chosen)
    if name == "tensorrt":
        from birefnet_batch.engines.store import EngineStore
        from birefnet_batch.engines.tensorrt_engine import TensorRTEngine

        workspace = None if workspace_gib is None else int(workspace_gib * 2**30)
        return TensorRTEngine(spec, model, weights, store or EngineStore(), workspace, cuda_graph)
    if resolved == "cuda":
        from birefnet_batch.engines.cuda_network import CudaOptions
        from birefnet_batch.engines.store import EngineStore
        from birefnet_batch.engines.torch_cuda_engine import TorchCudaEngine

        root = (store or EngineStore()).root if compile else None
        return TorchCudaEngine(spec, model, weights, CudaOptions(compile=compile, graph=cuda_graph), root)
    from birefnet_batch.engines.torch_engine import TorchEngine

    return TorchEngine(spec, model, weights)


def _multiplies_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor multiplies bf16 itself; where nothing says, it is taken to."""
    try:
        return (
            re.search(r"^(flags|Features)\s*:.*\b(avx512_bf16|amx_bf16|bf16)\b", cpuinfo.read_text(), re.M) is not None
        )
    except OSError:
        return True


def _precision_notes(
    name: str, model: ModelSpec, weights: WeightsFile, spec: EngineSpec, store: EngineStore | None
) -> list[str]:
    """What the log and the record say of a half precision's mattes."""
    if spec.precision == "bf16" and spec.device == "cpu" and not _multiplies_bf16():
        _log.warning("this processor has no bf16: fp32 is faster here; give engine.precision=fp32")
    if name == "torch" or (spec.device == "cpu" and spec.precision == "fp16"):
        from birefnet_batch.engines.precision_check import measured_error
        from birefnet_batch.engines.store import EngineStore

        root = None
        with suppress(EngineError):
            root = (store or EngineStore()).root
        what = model.short_name
        error = measured_error(root, model, weights, spec.precision, spec.device)
    else:
        # A GPU that runs plans is not given a torch network for this; what is exported in fp16 was compared with torch,
        # checkpoint by checkpoint, before it had a name in the store, or a warning said that nothing could do so.
        what, error = f"the network {model.network}", MEASURED.get((model.network, spec.precision))
    warning = precision_warning(what, spec.precision, error)
    if warning is None:
        return []
    _log.warning("%s", warning)
    return [warning]
