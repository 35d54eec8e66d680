"""Modulated deformable convolution in ONNX: as its own operator, or made of sampling and a product."""

from __future__ import annotations

import numpy as np

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.onnx_export.graph import Array, Graph


def deformable(
    graph: Graph, form: DeformableForm, x: str, name: str, weight: Array, bias: Array, height: int, width: int
) -> str:
    """Emit one: offsets and modulation from `x` by the convolutions below `name`, then the modulated samples' sum.

    Args:
        graph: where nodes go.
        form: `native` is DeformConv (opset 19), which few runtimes have; `gridsample` is GridSample and a
            convolution, in float32 where positions are computed and sampled.
        x: (B, C, height, width).
        name: of the module; its `offset_conv` and `modulator_conv` are read.
        weight: (O, C, k, k), to be used with a modulation in [0, 1].
        bias: (O,).
        height: of the map.
        width: of the map.

    Returns:
        (B, O, height, width).
    """
    weights = graph.weights
    kernel = weight.shape[2]
    taps = kernel**2
    planned = graph.convolve(
        x,
        f"{name}.plan",
        np.concatenate((weights[f"{name}.offset_conv.weight"], weights[f"{name}.modulator_conv.weight"])),
        np.concatenate((weights[f"{name}.offset_conv.bias"], weights[f"{name}.modulator_conv.bias"])),
    )
    offset, modulation = graph.add("Split", planned, graph.ints((2 * taps, taps)), outputs=2, axis=1)
    modulation = graph.add("Sigmoid", modulation)
    if form == "native":
        convolved: str = graph.add(
            "DeformConv",
            *(x, graph.weight(f"{name}.weight", weight), offset, graph.weight(f"{name}.bias", bias), modulation),
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
        )
        return convolved
    grid = _grid(graph, offset, kernel, height, width)
    channels = weight.shape[1]
    samples = graph.add("GridSample", graph.single(x), grid, mode="linear", padding_mode="zeros", align_corners=0)
    samples = graph.add("Mul", samples, graph.reshape(graph.single(modulation), 0, 1, taps, height * width))
    samples = graph.reshape(graph.working(samples), 0, channels * taps, height, width)
    flat = weight.reshape(weight.shape[0], channels * taps, 1, 1)
    return graph.convolve(samples, f"{name}.taps", flat, bias)


def _grid(graph: Graph, offset: str, kernel: int, height: int, width: int) -> str:
    """(B, 2 * taps, height, width) offsets in pixels, (y, x) -> float32 (B, taps, height * width, 2) in [-1, 1]."""
    taps = kernel**2
    reach = np.arange(kernel, dtype=np.float32) - kernel // 2
    tap = np.stack((np.tile(reach, kernel), np.repeat(reach, kernel)), axis=-1).reshape(1, taps, 1, 2)
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    place = np.stack((columns, rows), axis=-1).reshape(1, 1, height * width, 2)
    size = np.array((width, height), dtype=np.float32)
    scale = graph.constant(f"scale_{height}x{width}", 2 / size)
    middle = graph.constant(f"middle_{height}x{width}", ((2 * place + 1) / size - 1).astype(np.float32))
    positions = graph.reshape(graph.single(offset), 0, taps, 2, height * width)
    order = graph.constant("swapped", np.array((1, 0), dtype=np.int64))
    positions = graph.add("Transpose", graph.add("Gather", positions, order, axis=2), perm=[0, 1, 3, 2])
    positions = graph.add("Add", positions, graph.constant(f"taps_{kernel}", tap))
    grid: str = graph.add("Add", graph.add("Mul", positions, scale), middle)
    return grid
