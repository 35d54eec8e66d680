"""The compiled plans of the engine store."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.plan_limits import largest_batch
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_onnx import stored_onnx
from birefnet_batch.engines.tensorrt_module import TensorRT, check_capabilities
from birefnet_batch.errors import EngineMemoryError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile


def plan_device(library: TensorRT, capability: str | None = None) -> dict[str, str]:
    """What of the GPU and its driver a plan depends on.

    TensorRT's is compiled for this GPU. TensorRT-RTX's runs on every GPU of its compute capability, so that one
    that was built without a GPU is found on the machine that has it. The driver's minor versions are not in it: drivers
    of one CUDA generation run a plan alike.

    Args:
        library: which library.
        capability: TensorRT-RTX: of the GPU that is compiled for, as SM89; None is this machine's.

    Raises:
        EngineError: the library does not compile for the capability that is given.
    """
    if capability is not None:
        check_capabilities(library, [capability])
    else:
        import torch

        major, minor = torch.cuda.get_device_capability()
        capability = f"SM{major}{minor}"
        if not library.rtx or not hasattr(library.module.ComputeCapability, capability):
            name = torch.cuda.get_device_name()
            return {"name": name, "compute_capability": f"{major}.{minor}", "cuda": _driver_generation()}
    return {"name": "any", "compute_capability": capability}


def _driver_generation() -> str:
    """The major version of the CUDA that the driver speaks."""
    import torch

    version = ctypes.c_int()
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuDriverGetVersion(
            ctypes.byref(version)
        )
    except (OSError, AttributeError):
        return str(torch.version.cuda or "").partition(".")[0]
    return str(version.value // 1000)


def stored_plan(
    store: EngineStore,
    library: TensorRT,
    model: ModelSpec,
    weights: WeightsFile,
    size: tuple[int, int],
    precision: str,
    batch: int,
    workspace_bytes: int | None = None,
    capability: str | None = None,
) -> Path:
    """The plan's file, compiled first where it is missing; only then is its ONNX file looked for.

    Args:
        store: where it is or goes.
        library: TensorRT or TensorRT-RTX.
        model: the model.
        weights: its checkpoint.
        size: (width, height) in pixels.
        precision: fp32, fp16 or bf16.
        batch: the largest batch.
        workspace_bytes: memory that a layer may use; None is the library's own limit.
        capability: TensorRT-RTX: the GPU to compile for without one, as SM89; None is the one that is there.

    Raises:
        EngineError: it cannot be built, or not for this capability, or gives other mattes than torch.
        EngineMemoryError: one of its tensors would be larger than TensorRT's may be.
        WeightsError: the checkpoint does not fit the network.
    """
    device = plan_device(library, capability)
    most = largest_batch(model, size)
    if batch > most:
        raise EngineMemoryError(
            f"a plan for batches of {batch} frames of {model.short_name} at {size[0]}x{size[1]} would have tensors of "
            f"more than the 2^31-1 numbers that TensorRT's hold; give engine.batch_size={max(1, most)} or smaller ones"
        )
    artifact = Artifact.of(
        "plan",
        model,
        weights,
        size,
        precision,
        {"deform_conv": "gridsample", "workspace_bytes": workspace_bytes},
        batch=batch,
        libraries={library.name: library.version},
        device=device,
    )

    def build(path: Path) -> dict[str, Any]:
        from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan

        onnx_file = stored_onnx(store, model, weights, size, precision, "gridsample")
        capabilities = (device["compute_capability"],) if device["name"] == "any" else ()
        profile = PlanProfile(*size, batch, workspace_bytes, capabilities)
        measured = f"{library.name}-{library.version}-{device['name']}".replace(" ", "_").replace("/", "_")
        facts = build_plan(library, onnx_file, path, profile, store.root / "timing" / f"{measured}.cache")
        if capability is not None:
            return {**facts, "against_torch": "not checked: built for another machine"}
        from birefnet_batch.engines.plan_check import check_plan

        # TensorRT has compiled such networks wrongly without a word (pytorch/TensorRT issue 4074).
        difference = check_plan(path, library, model, weights, size, batch, precision, graph=False)
        return {**facts, "against_torch": str(difference)}

    return store.get(artifact, build)
