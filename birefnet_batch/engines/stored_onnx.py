"""The ONNX files of the engine store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from birefnet_batch.engines.artifact import Artifact, DeformableForm
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile


def stored_onnx(
    store: EngineStore,
    model: ModelSpec,
    weights: WeightsFile,
    size: tuple[int, int],
    precision: str,
    form: DeformableForm,
) -> Path:
    """The ONNX file, written first where it is missing; only then are the weights read.

    Args:
        store: where it is or goes.
        model: the model.
        weights: its checkpoint.
        size: (width, height) in pixels.
        precision: fp32, fp16 or bf16.
        form: how deformable convolutions are written.

    Raises:
        EngineError: it cannot be written.
        WeightsError: the checkpoint does not fit the network.
    """

    def build(path: Path) -> dict[str, Any]:
        from birefnet_batch.engines.onnx_export.check import checked
        from birefnet_batch.engines.onnx_export.export import write_onnx

        facts = write_onnx(path, model, weights, *size, precision, form)
        return {**facts, "against_torch": checked(path, model, weights, size, precision, 1, form)}

    return store.get(Artifact.of("onnx", model, weights, size, precision, {"deform_conv": form}), build)
