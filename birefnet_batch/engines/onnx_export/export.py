"""From a checkpoint to an ONNX file on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.versions import package_version

# A serialised model is one protobuf message, which holds at most 2 GiB.
_LARGEST = 2**31 - 1


def require_onnx() -> None:
    """Fail with the command that helps where the onnx package is missing.

    Raises:
        EngineError: it is.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise EngineError(
            "Writing ONNX files needs the onnx package, which is not installed: pip install 'birefnet-batch[onnx]'"
        ) from None


def write_onnx(
    destination: Path,
    model: ModelSpec,
    weights: WeightsFile,
    width: int,
    height: int,
    precision: str,
    form: DeformableForm,
) -> dict[str, Any]:
    """Write one self-contained file.

    Args:
        destination: the file; not atomic, the caller renames.
        model: the model.
        weights: its checkpoint.
        width: pixels, a multiple of 32.
        height: pixels, a multiple of 32.
        precision: fp32, fp16 or bf16.
        form: how deformable convolutions are written.

    Returns:
        How many nodes it has, and its metadata.

    Raises:
        EngineError: onnx is not installed, the form is not there in this precision, or the file would be too large.
        WeightsError: the checkpoint does not fit the network.
    """
    require_onnx()
    if form == "openvino" and precision == "bf16":
        raise EngineError(
            "OpenVINO's form, which onnxruntime's TensorRT takes too, has no bf16; give engine.precision=fp32 or fp16"
        )
    from birefnet_batch.engines.onnx_export.network import network_model

    metadata = {
        "birefnet_batch.model": model.short_name,
        "birefnet_batch.network": model.network,
        "birefnet_batch.weights_sha256": weights.sha256,
        "birefnet_batch.width": str(width),
        "birefnet_batch.height": str(height),
        "birefnet_batch.precision": precision,
        "birefnet_batch.deform_conv": form,
        "birefnet_batch.exporter": f"birefnet_batch {package_version()}",
    }
    state = load_network(model, weights).state_dict()
    arrays = {name: value.numpy() for name, value in state.items()}
    made = network_model(model.network, arrays, width, height, precision, form, metadata)
    del state, arrays
    if made.ByteSize() > _LARGEST:
        raise EngineError(
            f"The ONNX file of {model.name} at {width}x{height} would have {made.ByteSize() / 2**30:.1f} GiB; "
            "one file holds 2 GiB: give engine.precision=fp16 or a smaller resolution"
        )
    destination.write_bytes(made.SerializeToString())
    return {"nodes": len(made.graph.node), **metadata}
