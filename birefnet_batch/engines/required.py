"""What engine settings ask for, and whether this machine has it; told without opening an engine."""

from __future__ import annotations

from birefnet_batch.errors import EngineError
from birefnet_batch.settings.engine import PROVIDER_DEVICES, EngineName, EngineSettings, Precision, Provider
from birefnet_batch.versions import INSTALL_TORCH

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


def require(name: str, *, device: str, precision: str, provider: str, compile: bool) -> tuple[str, str]:
    """Make sure that this machine has an engine, whatever the model; none is opened.

    Args:
        name: auto, torch, onnxruntime or tensorrt.
        device: auto, cpu or cuda.
        precision: auto, fp32, fp16 or bf16.
        provider: of onnxruntime: auto, cpu, cuda, tensorrt or openvino.
        compile: of torch: through torch.compile.

    Returns:
        The family and the device that it runs on.

    Raises:
        EngineError: this machine does not have what was asked for.
    """
    family, _ = choose(name, device)
    if family == "tensorrt":
        from birefnet_batch.engines.tensorrt_module import load_tensorrt

        load_tensorrt()
    resolved = device_of(family, provider, device)
    if family == "onnxruntime":
        from birefnet_batch.engines.onnx_session import require_precision, require_provider

        chosen = resolved if provider == "auto" else provider
        require_provider(chosen)
        require_precision(chosen, resolve_precision(precision, resolved))
    elif family == "torch" and resolved == "cuda":
        from birefnet_batch.engines.torch_cuda_engine import require_capability

        require_capability(precision)
    elif family == "torch" and compile:
        raise EngineError("engine.compile=true is for torch on CUDA; leave it false on a CPU")
    return family, resolved


def device_for(asked: EngineSettings) -> str:
    """The device that an engine of these settings takes its images on: cpu or cuda.

    Raises:
        EngineError: it is not the one that was asked for, or is not here.
    """
    # What may stand in takes what there is; an engine without says itself what it lacks.
    if asked.stand_ins:
        return resolve_device(asked.device_wish)
    return device_of(asked.name.value, asked.provider.value, asked.device.value)


def require_asked(asked: EngineSettings) -> None:
    """Make sure that this machine has what settings ask for; where another engine may stand in, no more than a device.

    Raises:
        EngineError: it does not.
    """
    device_for(asked)
    if not asked.stand_ins:
        require(
            asked.name.value,
            device=asked.device_wish,
            precision=asked.precision.value,
            provider=asked.provider.value,
            compile=asked.compile,
        )
