"""The decoder at a fixed size, its normalisations folded into convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.onnx_export.deformable import deformable
from birefnet_batch.engines.onnx_export.graph import Array, Graph, Map
from birefnet_batch.models.pyramid import ASPP_KERNELS

_EPSILON = 1e-5


class Decoder:
    """Emits the decoder into a graph.

    Args:
        graph: where nodes go.
        image: the normalised image (B, 3, height, width), in the graph's precision.
        size: (height, width) of the image.
        form: how deformable convolutions are written.
    """

    def __init__(self, graph: Graph, image: str, size: tuple[int, int], form: DeformableForm) -> None:
        self._graph = graph
        self._image = image
        self._size = size
        self._form = form

    def block(self, x: Map, name: str) -> str:
        """A decoder block up to its last convolution, which `convolve_out` or the head adds."""
        graph = self._graph
        weight, bias = self._folded(f"{name}.conv_in", f"{name}.bn_in")
        inner = graph.add("Relu", graph.convolve(x.value, f"{name}.conv_in", weight, bias))
        return self._pyramid(Map(inner, x.size), f"{name}.dec_att")

    def convolve_out(self, x: str, name: str) -> str:
        """A decoder block's last convolution."""
        weight, bias = self._folded(f"{name}.conv_out", f"{name}.bn_out")
        return self._graph.convolve(x, f"{name}.conv_out", weight, bias)

    def logits(self, maps: Sequence[Map]) -> str:
        """From the maps at 1/4, 1/8, 1/16 and 1/32, the last one squeezed, to float32 logits (B, 1, H, W)."""
        graph = self._graph
        x = maps[3]
        for stage in (4, 3, 2):
            name = f"decoder.decoder_block{stage}"
            features = self.convolve_out(self.block(self._beside_patches(stage, x), name), name)
            weight, bias = self._folded(f"decoder.gdt_convs_{stage}.0", f"decoder.gdt_convs_{stage}.1")
            edges = graph.add("Relu", graph.convolve(features, f"decoder.gdt_convs_{stage}", weight, bias))
            attention = graph.add("Sigmoid", self._plain(edges, f"decoder.gdt_convs_attn_{stage}.0"))
            lateral = maps[stage - 2]
            attended = graph.resize(graph.add("Mul", features, attention), x.size, lateral.size)
            own = self._plain(lateral.value, f"decoder.lateral_block{stage}.conv")
            x = Map(graph.add("Add", attended, own), lateral.size)
        return self._head(x)

    def _head(self, x: Map) -> str:
        """The last block, the image's own convolutions and the 1x1 convolution over both.

        All three are linear from the last activation on, and the upsampling's weights add up to one, so that the
        1x1 convolution is taken into the ones before it.
        """
        graph, weights = self._graph, self._graph.weights
        name = "decoder.decoder_block1"
        head = weights["decoder.conv_out1.0.weight"][0, :, 0, 0]
        last, last_bias = self._folded(f"{name}.conv_out", f"{name}.bn_out")
        from_map = last.shape[0]
        coarse = graph.convolve(
            self.block(self._beside_patches(1, x), name),
            f"{name}.head",
            np.einsum("o,oikl->ikl", head[:from_map], last)[None],
            (head[:from_map] @ last_bias)[None],
        )
        coarse = graph.resize(graph.single(coarse), x.size, self._size)

        patches = "decoder.ipt_blk1"
        outer = head[from_map:]
        # Nothing lies between the image's convolutions but the zeros around the second one's input: the first gives,
        # for each tap of the second, what this tap adds to the one output, and the second adds up nine shifted maps.
        second = np.einsum("o,oikl->kli", outer, weights[f"{patches}.conv_out.weight"]).reshape(9, -1)
        first = np.einsum("ti,ickl->tckl", second, weights[f"{patches}.conv1.weight"])
        shares = graph.convolve(self._image, f"{patches}.shares", first, second @ weights[f"{patches}.conv1.bias"])
        total = outer @ weights[f"{patches}.conv_out.bias"] + weights["decoder.conv_out1.0.bias"][0]
        own = graph.convolve(shares, f"{patches}.total", np.eye(9, dtype=np.float32).reshape(1, 9, 3, 3), total[None])
        return graph.add("Add", coarse, graph.single(own))

    def _beside_patches(self, stage: int, x: Map) -> Map:
        """The features and, behind them, the image's tiles through two convolutions."""
        graph = self._graph
        height, width = x.size
        rows, columns = self._size[0] // height, self._size[1] // width
        tiles = graph.reshape(self._image, -1, 3, rows, height, columns, width)
        tiles = graph.add("Transpose", tiles, perm=[0, 1, 2, 4, 3, 5])
        tiles = graph.reshape(tiles, -1, 3 * rows * columns, height, width)
        name = f"decoder.ipt_blk{stage + 1}"
        beside = self._plain(self._plain(tiles, f"{name}.conv1"), f"{name}.conv_out")
        return Map(graph.add("Concat", x.value, beside, axis=1), x.size)

    def _pyramid(self, x: Map, name: str) -> str:
        graph = self._graph
        weight, bias = self._folded(f"{name}.conv1", f"{name}.bn1")
        *own, everywhere = np.split(weight, 2 + len(ASPP_KERNELS), axis=1)
        average = graph.add("GlobalAveragePool", x.value)
        pooled, pooled_bias = self._folded(f"{name}.global_avg_pool.1", f"{name}.global_avg_pool.2")
        average = graph.add("Relu", graph.convolve(average, f"{name}.global_avg_pool", pooled, pooled_bias))
        mixed = graph.convolve(average, f"{name}.everywhere", everywhere, bias)
        branches = ["aspp1", *(f"aspp_deforms.{index}" for index in range(len(ASPP_KERNELS)))]
        for branch, share in zip(branches, own, strict=True):
            conv = f"{name}.{branch}.atrous_conv"
            folded, folded_bias = self._folded(f"{conv}.regular_conv", f"{name}.{branch}.bn")
            # The factor 2 of the modulation, 2 * sigmoid, is in the weight.
            sampled = deformable(graph, self._form, x, conv, 2 * folded, folded_bias)
            share_of = graph.convolve(graph.add("Relu", sampled), f"{name}.{branch}.share", share, None)
            mixed = graph.add("Add", share_of, mixed)
        return graph.add("Relu", mixed)

    def _plain(self, x: str, name: str) -> str:
        weights = self._graph.weights
        return self._graph.convolve(x, name, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def _folded(self, convolution: str, norm: str) -> tuple[Array, Array]:
        weights = self._graph.weights
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        if f"{convolution}.bias" in weights:
            bias = bias + weights[f"{convolution}.bias"] * scale
        return weights[f"{convolution}.weight"] * scale.reshape(-1, 1, 1, 1), bias
