"""ONNX Runtime sessions: which provider runs, and that no other does in its place."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.installed import installed
from birefnet_batch.errors import EngineError
from birefnet_batch.process_tuning import usable_processors
from birefnet_batch.refusals import one_line
from birefnet_batch.versions import INSTALL_TORCH

if TYPE_CHECKING:
    import onnxruntime
    import torch

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_ASSIGNMENT = "session.record_ep_graph_assignment_info"
OPENVINO_PACKAGE = "onnxruntime-openvino"
# What pip is to install for a provider, and the package that this brings; they install the same module, so that only
# one of them can be there.
_PACKAGES = {
    "cpu": ("birefnet-batch[onnx]", "onnxruntime"),
    "cuda": ("birefnet-batch[onnx-gpu]", "onnxruntime-gpu"),
    "tensorrt": ("birefnet-batch[onnx-gpu]", "onnxruntime-gpu"),
    "openvino": (OPENVINO_PACKAGE, OPENVINO_PACKAGE),
}
# DeformConv came to the CPU and CUDA providers with 1.31; TensorRT and OpenVINO take decomposed forms, and both know
# GridSample's mode by its name before opset 20: under the newer one TensorRT 10 and 11 take the nearest pixel.
_FORMS: dict[str, DeformableForm] = {
    "cpu": "native",
    "cuda": "native",
    "tensorrt": "openvino",
    "openvino": "openvino",
}
# The first that runs a form, and why; onnxruntime-openvino follows onnxruntime by many versions.
_OLDEST: dict[DeformableForm, tuple[tuple[int, int], str]] = {
    "native": ((1, 31), "with DeformConv"),
    "gridsample": ((1, 20), "that reads operators of opset 22"),
    "openvino": ((1, 18), "that reads files of IR version 10"),
}


def form_of(provider: str) -> DeformableForm:
    """The form of deformable convolution that a provider runs."""
    return _FORMS[provider]


def installed_packages() -> list[str]:
    """The pip packages of onnxruntime that are there; where there are several, one wrote over the other."""
    found = []
    for package in dict.fromkeys(package for _, package in _PACKAGES.values()):
        with suppress(PackageNotFoundError):
            distribution(package)
            found.append(package)
    return found


def require_precision(provider: str, precision: str) -> None:
    """Make sure that a provider computes in a precision.

    Raises:
        EngineError: it does not.
    """
    if provider == "cpu" and precision == "bf16":
        raise EngineError("onnxruntime's CPU provider has no bf16; give engine.precision=fp32, or engine.name=torch")


def require_provider(provider: str, form: DeformableForm | None = None) -> ModuleType:
    """The onnxruntime module, with this provider in it.

    Args:
        provider: cpu, cuda, tensorrt or openvino.
        form: of deformable convolution that it is to run; None is the provider's own.

    Raises:
        EngineError: onnxruntime is missing, too old, or was built without the provider.
    """
    what, package = _PACKAGES[provider]
    install = f"pip install '{what}'"
    # From 1.29 on it reports to Microsoft which models are run. It reads this once, when it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise EngineError(
            f"engine.name=onnxruntime needs onnxruntime, which is not installed (there is {installed()}): {install}"
        ) from None
    packages = installed_packages()
    anew = f"pip uninstall {' '.join(packages or ['onnxruntime'])}"
    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    oldest, reason = _OLDEST[form or form_of(provider)]
    if version < oldest:
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} is too old: {'.'.join(map(str, oldest))} is the first {reason}; "
            + (f"{install} --upgrade" if packages in ([], [package]) else f"{anew}, then {install}")
        )
    available = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in available:
        # It may be what engine.provider=auto takes on this device.
        there = " or ".join(name for name, theirs in PROVIDERS.items() if theirs in available)
        raise EngineError(
            f"engine.provider={provider} cannot be had: onnxruntime {onnxruntime.__version__} here has only "
            f"{', '.join(available)}; give engine.provider={there}, or {anew}, then {install}"
        )
    module: ModuleType = onnxruntime
    return module


def open_session(
    path: Path,
    provider: str,
    threads: int | None = None,
    form: DeformableForm | None = None,
) -> onnxruntime.InferenceSession:
    """A session that runs on the provider asked for.

    Args:
        path: the ONNX file.
        provider: cpu, cuda, tensorrt or openvino.
        threads: of the CPU; None is one for each processor that this process may use.
        form: of deformable convolution in the file; None is the provider's own.

    Raises:
        EngineError: the provider cannot be had, did not load, or cannot run the file.
    """
    runtime = require_provider(provider, form)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads or usable_processors()
    # Nodes follow each other; what onnxruntime has to say at INFO and WARNING is about its own optimiser.
    settings.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3
    wanted = PROVIDERS[provider]
    # What is asked for in float32 is computed in it.
    exact = {"use_tf32": "0"}
    options = exact if provider == "cuda" else {}
    if provider == "openvino":
        # It runs all of the file or refuses it, has threads of its own, and might take bfloat16 for fp32 where the
        # processor has it.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options = {"num_of_threads": str(settings.intra_op_num_threads), "precision": "ACCURACY"}
    if provider in ("cuda", "tensorrt"):
        settings.add_session_config_entry(_ASSIGNMENT, "1")
    asked: list[Any] = [(wanted, options)]
    if provider == "tensorrt":
        # What it does not compile is still the GPU's.
        asked.append((PROVIDERS["cuda"], exact))
        # TensorRT's package loads its libraries, which lie where no loader looks.
        with suppress(ImportError, OSError):
            import_module("tensorrt")
    try:
        # By itself it would go on with another provider after an error of this one.
        session: onnxruntime.InferenceSession = runtime.InferenceSession(
            str(path), settings, providers=asked, enable_fallback=0
        )
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        raise EngineError(f"onnxruntime cannot open {path} on {wanted}: {one_line(error, 400)}") from None
    got = session.get_providers()
    names = [name for name, _ in asked]
    if got[: len(names)] != names:
        raise EngineError(
            f"onnxruntime was asked for {', '.join(names)} and opened {', '.join(got)} instead: the provider's "
            f"libraries did not load ({_missing(provider)}); mend that, or give another engine.provider"
        )
    return session


def _missing(provider: str) -> str:
    """What a provider of a GPU may lack."""
    import torch

    if provider == "tensorrt":
        return "it needs TensorRT 10, which pip install 'tensorrt>=10.1,<11' brings, and what the CUDA provider needs"
    built = None
    with suppress(ImportError):
        built = getattr(import_module("onnxruntime.capi.build_and_package_info"), "cuda_version", None)
    brought = torch.version.cuda
    if built and brought and built.partition(".")[0] != brought.partition(".")[0]:
        return (
            f"it is built for CUDA {built}, and torch {torch.__version__} brings CUDA {brought}; the newest torch has "
            f"CUDA 13: {INSTALL_TORCH}"
        )
    return "its driver, CUDA or cuDNN may be missing"


def left_to_cpu(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """How many nodes of each operator a session runs on the CPU, for its provider has no kernel for them.

    Of a session of `open_session`'s for a GPU; empty where onnxruntime does not say.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    groups = session.get_provider_graph_assignment_info()
    return dict(
        Counter(node.op_type for group in groups if group.ep_name == PROVIDERS["cpu"] for node in group.get_nodes())
    )


def run_on_gpu(session: onnxruntime.InferenceSession, images: torch.Tensor) -> torch.Tensor:
    """Run a session on images in device memory: it reads and writes torch's tensors."""
    import numpy as np
    import torch

    images = images.float().contiguous()
    logits = torch.empty((images.shape[0], 1, *images.shape[2:]), device=images.device)
    binding = session.io_binding()
    index = images.device.index or 0
    for bind, name, tensor in (
        (binding.bind_input, "image", images),
        (binding.bind_output, "logits", logits),
    ):
        bind(name, "cuda", index, np.float32, tuple(tensor.shape), tensor.data_ptr())
    # The session has a stream of its own.
    torch.cuda.current_stream().synchronize()
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    return logits
