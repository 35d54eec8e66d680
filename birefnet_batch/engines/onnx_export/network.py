"""The whole network at a fixed size, as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.onnx_export.decoder import Decoder
from birefnet_batch.engines.onnx_export.encoder import Encoder
from birefnet_batch.engines.onnx_export.graph import OPENVINO_OPSET, Array, Graph, Map
from birefnet_batch.models.birefnet import NETWORKS


def network_model(
    network: str,
    weights: Mapping[str, Array],
    width: int,
    height: int,
    precision: str,
    form: DeformableForm,
    metadata: dict[str, str],
) -> ModelProto:
    """The network with its weights in, at one resolution, for any batch.

    Args:
        network: its name in `NETWORKS`.
        weights: the state dict's tensors, float32 (and the integer buffers).
        width: pixels, a multiple of 32.
        height: pixels, a multiple of 32.
        precision: fp32, fp16 or bf16. Input and logits are float32 in each; half models compute softmax, the
            statistics of normalisation, sampling positions and samples, and the last sum in float32 too.
        form: how deformable convolutions are written; `openvino` has operators of opset 19 alone.
        metadata: written into the model.
    """
    config = NETWORKS[network]
    graph = Graph(precision, weights, OPENVINO_OPSET if form == "openvino" else None)
    encoder = Encoder(graph, config)
    half = graph.working(graph.resize("image", (height, width), (height // 2, width // 2)))
    image = graph.working("image")
    fine = encoder.maps(image, height, width)
    coarse = encoder.maps(half, height // 2, width // 2)
    maps: list[Map] = [
        Map(graph.add("Concat", large.value, graph.resize(small.value, small.size, large.size), axis=1), large.size)
        for large, small in zip(fine, coarse, strict=True)
    ]
    decoder = Decoder(graph, image, (height, width), form)
    size = maps[3].size
    context = [graph.resize(finer.value, finer.size, size) for finer in maps[:3]]
    squeeze = "squeeze_module.0"
    joined = graph.add("Concat", *context, maps[3].value, axis=1)
    squeezed = decoder.convolve_out(decoder.block(Map(joined, size), squeeze), squeeze)
    logits = decoder.logits([*maps[:3], Map(squeezed, size)])
    return graph.finish(logits, width, height, metadata)
