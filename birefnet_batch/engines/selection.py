"""From the engine settings to an engine. What was asked for is had, or refused: never another in silence."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.plan_limits import USUAL_BATCH, usual_batch
from birefnet_batch.errors import EngineError
from birefnet_batch.models.precision import MEASURED, precision_warning
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.settings.engine import PROVIDER_DEVICES, EngineName, Precision, Provider
from birefnet_batch.versions import INSTALL_TORCH

if TYPE_CHECKING:
    from birefnet_batch.engines.store import EngineStore
    from birefnet_batch.models.weights import WeightsFile

_log = logging.getLogger(__name__)
FAMILIES = tuple(name.value for name in EngineName if name is not EngineName.auto)
PRECISIONS = tuple(kind.value for kind in Precision if kind is not Precision.auto)


def resolve_device(device: str, asked: str | None = None, instead: str = "engine.device=cpu") -> str:
    """`auto` is CUDA where torch finds it, else the CPU.

    Args:
        device: auto, cpu or cuda.
        asked: the setting that asks for it, for the message; None is `engine.device`.
        instead: what to give where it is not here.

    Raises:
        EngineError: CUDA was asked for and is not here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is a CPU build"
        raise EngineError(
            f"{asked or 'engine.device=cuda'} was asked for, but torch {torch.__version__} {built} and finds no GPU; "
            f"give {instead}, or install a driver and a CUDA build: {INSTALL_TORCH}"
        )
    return device


def resolve_precision(precision: str, device: str) -> str:
    """`auto` is fp16 on CUDA and fp32 on a CPU, where half precision is slower.

    A device that is named need not be here: the head of a cluster has no GPU, and asks which jobs are complete.

    Args:
        precision: auto, fp32, fp16 or bf16.
        device: auto, cpu or cuda.
    """
    if precision != "auto":
        return precision
    resolved = resolve_device(device) if device == "auto" else device
    return "fp16" if resolved == "cuda" else "fp32"


def choose(name: str, device: str) -> tuple[str, str]:
    """The family that `auto` means here, and why; another name is itself.

    Args:
        name: auto or a family.
        device: auto, cpu or cuda.

    Raises:
        EngineError: the device cannot be had.
    """
    if name != "auto":
        return name, "asked for"
    import torch

    if resolve_device(device) == "cuda":
        return "torch", (
            f"auto: torch finds {torch.cuda.get_device_name()}; TensorRT is taken only when it is asked for, since it "
            "has not been measured there"
        )
    return "torch", "auto: no GPU is used, and torch needs nothing built on a CPU"


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
        threads: CPU threads; None is the library's own choice.
        provider: of onnxruntime: auto, cpu, cuda, tensorrt or openvino.
        store: where built engines are; None is the default one.
        workspace_gib: of tensorrt: memory that a layer may use; None is the library's own limit.
        compile: of torch on CUDA: through torch.compile.
        cuda_graph: of torch and tensorrt on CUDA: launch each batch as one CUDA graph.

    Raises:
        EngineError: this machine does not have what was asked for.
    """
    if name not in ("auto", *FAMILIES):
        raise EngineError(f"engine.name={name} is not known; give auto or {' or '.join(FAMILIES)}")
    name, _ = choose(name, device)
    if name == "tensorrt":
        from birefnet_batch.engines.tensorrt_module import load_tensorrt

        load_tensorrt()
    resolved = device_of(name, provider, device)
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

        root = (store or EngineStore()).root
        return TorchCudaEngine(spec, model, weights, CudaOptions(compile=compile, graph=cuda_graph), root)
    if compile:
        raise EngineError("engine.compile=true is for torch on CUDA; leave it false on a CPU")
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

        what = model.short_name
        error = measured_error((store or EngineStore()).root, model, weights, spec.precision, spec.device)
    else:
        # A GPU that runs plans is not given a torch network for this; what is exported in fp16 was compared with torch,
        # checkpoint by checkpoint, before it had a name in the store, or a warning said that nothing could do so.
        what, error = f"the network {model.network}", MEASURED.get((model.network, spec.precision))
    warning = precision_warning(what, spec.precision, error)
    if warning is None:
        return []
    _log.warning("%s", warning)
    return [warning]


def device_of(name: str, provider: str, device: str) -> str:
    """The device that an engine takes its images on: TensorRT has one, and so has each provider of ONNX Runtime.

    Args:
        name: auto, torch, onnxruntime or tensorrt.
        provider: of onnxruntime: auto, cpu, cuda, tensorrt or openvino.
        device: auto, cpu or cuda.

    Raises:
        EngineError: it is not the one that was asked for, or is not here.
    """
    belongs = PROVIDER_DEVICES[Provider(provider)].value
    what, instead = f"engine.provider={provider}", "engine.provider=cpu"
    if name == "tensorrt":
        belongs, what, instead = "cuda", "engine.name=tensorrt", "engine=torch"
    elif name != "onnxruntime":
        return resolve_device(device)
    elif device == "cuda":
        instead += " engine.device=auto"
    if belongs == "auto":
        return resolve_device(device)
    if device not in ("auto", belongs):
        other = f", or {instead}" if belongs == "cuda" else ""
        raise EngineError(f"{what} runs on {belongs}, but engine.device is {device}; give engine.device=auto{other}")
    return resolve_device(belongs, what, instead)
