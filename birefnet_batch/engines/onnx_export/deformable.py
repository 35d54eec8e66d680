"""Modulated deformable convolution in ONNX: as its own operator, or made of sampling and a product."""

from __future__ import annotations

import numpy as np

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.onnx_export.graph import Array, Graph, Map


def deformable(graph: Graph, form: DeformableForm, x: Map, name: str, weight: Array, bias: Array) -> str:
    """Emit one: offsets and modulation from `x` by the convolutions below `name`, then the modulated samples' sum.

    Args:
        graph: where nodes go.
        form: `native` is DeformConv (opset 19), which few runtimes have; the others are GridSample and a
            convolution, in float32 where positions are computed and sampled.
        x: (B, C, height, width).
        name: of the module; its `offset_conv` and `modulator_conv` are read.
        weight: (O, C, k, k), to be used with a modulation in [0, 1].
        bias: (O,).

    Returns:
        (B, O, height, width).
    """
    weights = graph.weights
    kernel = weight.shape[2]
    modulation = graph.convolve(
        x.value,
        f"{name}.modulator_conv",
        weights[f"{name}.modulator_conv.weight"],
        weights[f"{name}.modulator_conv.bias"],
    )
    modulation = graph.add("Sigmoid", modulation)
    offset_weight, offset_bias = weights[f"{name}.offset_conv.weight"], weights[f"{name}.offset_conv.bias"]
    if form == "native":
        offset = graph.convolve(x.value, f"{name}.offset_conv", offset_weight, offset_bias)
        return graph.add(
            "DeformConv",
            *(x.value, graph.weight(f"{name}.weight", weight), offset, graph.weight(f"{name}.bias", bias), modulation),
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
        )
    grid = _grid(graph, x, name, offset_weight, offset_bias)
    channels, taps, (height, width) = weight.shape[1], kernel**2, x.size
    # The same thing has another name from opset 20 on.
    mode = "bilinear" if graph.opset < 20 else "linear"
    samples = graph.add("GridSample", graph.single(x.value), grid, mode=mode, padding_mode="zeros", align_corners=0)
    samples = graph.add("Mul", samples, graph.reshape(graph.single(modulation), -1, 1, taps, height * width))
    samples = graph.reshape(graph.working(samples), -1, channels * taps, height, width)
    flat = weight.reshape(weight.shape[0], channels * taps, 1, 1)
    return graph.convolve(samples, f"{name}.taps", flat, bias)


def _grid(graph: Graph, x: Map, name: str, weight: Array, bias: Array) -> str:
    """Where each tap of each pixel looks: float32 (B, taps, height * width, 2), (x, y) in [-1, 1] over the map."""
    kernel, (height, width) = weight.shape[2], x.size
    taps = kernel**2
    # The convolution gives (y, x) per tap, GridSample takes (x, y): swapped in its weights.
    swapped = np.arange(2 * taps).reshape(taps, 2)[:, ::-1].reshape(-1)
    weight, bias = weight[swapped], bias[swapped]
    reach = np.arange(kernel, dtype=np.float32) - kernel // 2
    tap = np.stack((np.tile(reach, kernel), np.repeat(reach, kernel)), axis=-1)
    size = np.array((width, height), dtype=np.float32)
    scale = 2 / size
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = np.stack((columns, rows), axis=-1).reshape(1, 1, height * width, 2)
    middle = graph.constant(f"middle_{height}x{width}", ((2 * pixels + 1) / size - 1).astype(np.float32))
    if not graph.half:
        # From pixels to [-1, 1], and to the tap, inside the convolution; in half precision that would cost exactness.
        factors = np.tile(scale, taps)
        weight, bias = weight * factors.reshape(-1, 1, 1, 1), (bias + tap.reshape(-1)) * factors
    offset = graph.single(graph.convolve(x.value, f"{name}.offset_conv", weight, bias))
    positions = graph.add("Transpose", graph.reshape(offset, -1, taps, 2, height * width), perm=[0, 1, 3, 2])
    if graph.half:
        positions = graph.add("Add", positions, graph.constant(f"taps_{kernel}", tap.reshape(1, taps, 1, 2)))
        positions = graph.add("Mul", positions, graph.constant(f"scale_{height}x{width}", scale))
    return graph.add("Add", positions, middle)
