"""The compiled plans of the engine store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_onnx import stored_onnx
from birefnet_batch.engines.tensorrt_module import TensorRT
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile


def this_device() -> dict[str, str]:
    """What of the GPU and its driver a plan depends on.

    The driver's minor versions are not in it: a plan holds machine code for a compute capability, and drivers of one
    CUDA generation run it alike.
    """
    import torch

    major, minor = torch.cuda.get_device_capability()
    return {
        "name": torch.cuda.get_device_name(),
        "compute_capability": f"{major}.{minor}",
        "cuda": str(torch.version.cuda or "").partition(".")[0],
    }


def stored_plan(
    store: EngineStore,
    library: TensorRT,
    model: ModelSpec,
    weights: WeightsFile,
    size: tuple[int, int],
    precision: str,
    batch: int,
    workspace_bytes: int | None = None,
    capabilities: tuple[str, ...] = (),
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
        capabilities: TensorRT-RTX: GPUs to compile for without one, as SM89; none is the one that is there.

    Raises:
        EngineError: it cannot be built.
        WeightsError: the checkpoint does not fit the network.
    """
    device = {"name": "any", "compute_capability": ",".join(capabilities)} if capabilities else this_device()
    artifact = Artifact.of(
        "plan",
        model,
        weights,
        size,
        precision,
        {"deform_conv": "gridsample", "workspace_bytes": workspace_bytes, "tf32": False},
        batch=batch,
        libraries={library.name: library.version},
        device=device,
    )

    def build(path: Path) -> dict[str, Any]:
        from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan

        onnx_file = stored_onnx(store, model, weights, size, precision, "gridsample")
        profile = PlanProfile(*size, batch, workspace_bytes, capabilities)
        measured = f"{library.name}-{library.version}-{device['name']}".replace(" ", "_").replace("/", "_")
        return build_plan(library, onnx_file, path, profile, store.root / "timing" / f"{measured}.cache")

    return store.get(artifact, build)
