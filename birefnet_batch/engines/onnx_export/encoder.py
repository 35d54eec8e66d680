"""The encoder at a fixed size: tokens stay in rows, and every rearrangement of them is one gather.

Cutting into windows, shifting and padding before attention are one permutation known at export, and so are joining,
shifting back and cropping after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birefnet_batch.engines.onnx_export.graph import Array, Graph, Map
from birefnet_batch.models.birefnet import NetworkConfig


@dataclass(frozen=True)
class WindowPlan:
    """Where tokens go and come from for one map size and shift.

    Attributes:
        into: (windows * window²,) index into the map's tokens, row by row; height*width is a padding token.
        back: (height*width,) index into the windows' tokens.
        kinds: (windows,) which of the four masks of `region_masks` a window takes.
        padded: whether `into` names the padding token.
    """

    into: Array
    back: Array
    kinds: Array
    padded: bool

    @classmethod
    def of(cls, height: int, width: int, window: int, shift: int) -> WindowPlan:
        """The plan of a map of height x width tokens."""
        rows, columns = height + -height % window, width + -width % window
        tokens = np.full((rows, columns), height * width, dtype=np.int32)
        tokens[:height, :width] = np.arange(height * width, dtype=np.int32).reshape(height, width)
        tokens = np.roll(tokens, (-shift, -shift), (0, 1))
        grid = tokens.reshape(rows // window, window, columns // window, window).transpose(0, 2, 1, 3)
        into = grid.reshape(-1)
        real = into < height * width
        back = np.empty(height * width, dtype=np.int32)
        back[into[real]] = np.nonzero(real)[0]
        kinds = np.zeros((rows // window, columns // window), dtype=np.int32)
        if shift:
            kinds[-1] += 1
            kinds[:, -1] += 2
        return cls(into, back, kinds.reshape(-1), bool((~real).any()))


def region_masks(window: int, shift: int) -> Array:
    """What keeps tokens apart that a shift brought together: (4, 1, window², window²), 0 or -10000.

    Only windows of the last row (1), of the last column (2) and of both (3) hold such tokens.
    """
    wrapped = np.arange(window) >= window - shift
    below = np.repeat(wrapped, window)
    right = np.tile(wrapped, window)
    apart_below = below[:, None] != below[None, :]
    apart_right = right[:, None] != right[None, :]
    apart = np.stack((np.zeros_like(apart_below), apart_below, apart_right, apart_below | apart_right))
    # Finite, since TensorRT need not heed infinities; its exponential is 0 all the same.
    return np.where(apart, -1e4, 0.0).astype(np.float32)[:, None]


class Encoder:
    """Emits the Swin transformer into a graph, for one size at a time; both sizes share their weights.

    Args:
        graph: where nodes go.
        config: the network's sizes.
    """

    def __init__(self, graph: Graph, config: NetworkConfig) -> None:
        self._graph = graph
        self._config = config
        self._made: dict[str, str] = {}

    def maps(self, image: str, height: int, width: int) -> list[Map]:
        """From an image (B, 3, height, width) to the normalised maps at 1/4, 1/8, 1/16 and 1/32."""
        graph, weights = self._graph, self._graph.weights
        name = "bb.patch_embed"
        x = graph.convolve(
            image, f"{name}.proj", weights[f"{name}.proj.weight"], weights[f"{name}.proj.bias"], stride=4
        )
        height, width, channels = height // 4, width // 4, self._config.embed
        x = graph.add("Transpose", graph.reshape(x, -1, channels, height * width), perm=[0, 2, 1])
        x = graph.layer_norm(x, f"{name}.norm")
        maps = []
        for stage, depth in enumerate(self._config.depths):
            for block in range(depth):
                prefix = f"bb.layers.{stage}.blocks.{block}"
                x = self._block(x, prefix, height, width, self._config.heads[stage], shifted=block % 2 == 1)
            normalised = graph.layer_norm(x, f"bb.norm{stage}")
            rows = graph.add("Transpose", normalised, perm=[0, 2, 1])
            maps.append(Map(graph.reshape(rows, -1, channels, height, width), (height, width)))
            if stage < len(self._config.depths) - 1:
                x, height, width = self._merge(x, f"bb.layers.{stage}.downsample", height, width, channels)
                channels *= 2
        return maps

    def _block(self, x: str, name: str, height: int, width: int, heads: int, shifted: bool) -> str:
        graph, weights = self._graph, self._graph.weights
        window = self._config.window
        shift = window // 2 if shifted else 0
        plan = WindowPlan.of(height, width, window, shift)
        place = f"{height}x{width}s{shift}"
        tokens = graph.layer_norm(x, f"{name}.norm1")
        if plan.padded:
            tokens = graph.add("Pad", tokens, graph.ints((0, 0, 0, 0, 1, 0)))
        tokens = graph.add("Gather", tokens, graph.constant(f"into_{place}", plan.into), axis=1)
        attended = self._attend(tokens, f"{name}.attn", plan, place, heads, shift)
        attended = graph.add("Gather", attended, graph.constant(f"back_{place}", plan.back), axis=1)
        x = graph.add("Add", x, attended)
        inner = graph.layer_norm(x, f"{name}.norm2")
        inner = graph.linear(
            inner, f"{name}.mlp.fc1", weights[f"{name}.mlp.fc1.weight"], weights[f"{name}.mlp.fc1.bias"]
        )
        inner = graph.gelu(inner)
        inner = graph.linear(
            inner, f"{name}.mlp.fc2", weights[f"{name}.mlp.fc2.weight"], weights[f"{name}.mlp.fc2.bias"]
        )
        return graph.add("Add", x, inner)

    def _attend(self, tokens: str, name: str, plan: WindowPlan, place: str, heads: int, shift: int) -> str:
        """(B, windows * window², channels) -> the same, by attention inside the windows."""
        graph, weights = self._graph, self._graph.weights
        count = self._config.window**2
        windows = plan.kinds.size
        qkv_weight, qkv_bias = weights[f"{name}.qkv.weight"].copy(), weights[f"{name}.qkv.bias"].copy()
        channels = qkv_weight.shape[1]
        # The scale of the scores is in the query's weights.
        qkv_weight[:channels] *= (channels // heads) ** -0.5
        qkv_bias[:channels] *= (channels // heads) ** -0.5
        qkv = graph.linear(tokens, f"{name}.qkv", qkv_weight, qkv_bias)
        # Without masks windows are further members of the batch; with masks they have an axis of their own.
        outer = [-1, windows] if shift else [-1]
        qkv = graph.reshape(qkv, *outer, count, 3, heads, channels // heads)
        first = len(outer)
        order = [first + 1, *range(first), first + 2, first, first + 3]
        qkv = graph.add("Transpose", qkv, perm=order)
        query, key, value = (
            graph.add("Gather", qkv, graph.constant(f"part_{part}", np.array(part, dtype=np.int32)), axis=0)
            for part in range(3)
        )
        axes = list(range(first + 3))
        key = graph.add("Transpose", key, perm=[*axes[:-2], axes[-1], axes[-2]])
        scores = graph.add("MatMul", query, key)
        scores = graph.add("Add", scores, graph.weight(f"{name}.bias", self._position_bias(name, heads)))
        if shift:
            masks = graph.weight(f"masks_{shift}", region_masks(self._config.window, shift))
            scores = graph.add("Add", scores, self._masks(masks, plan, place))
        mixing = graph.working(graph.add("Softmax", graph.single(scores), axis=-1))
        mixed = graph.add("MatMul", mixing, value)
        mixed = graph.add("Transpose", mixed, perm=[*axes[:-3], axes[-2], axes[-3], axes[-1]])
        mixed = graph.reshape(mixed, -1, windows * count, channels)
        return graph.linear(mixed, f"{name}.proj", weights[f"{name}.proj.weight"], weights[f"{name}.proj.bias"])

    def _masks(self, masks: str, plan: WindowPlan, place: str) -> str:
        """(windows, 1, window², window²): gathered in the graph, since the file would hold every copy."""
        name = f"masks_{place}"
        if name not in self._made:
            self._made[name] = self._graph.add(
                "Gather", masks, self._graph.constant(f"kinds_{place}", plan.kinds), axis=0
            )
        return self._made[name]

    def _position_bias(self, name: str, heads: int) -> Array:
        count = self._config.window**2
        table = self._graph.weights[f"{name}.relative_position_bias_table"]
        index = self._graph.weights[f"{name}.relative_position_index"].reshape(-1)
        return table[index].reshape(count, count, heads).transpose(2, 0, 1)

    def _merge(self, x: str, name: str, height: int, width: int, channels: int) -> tuple[str, int, int]:
        graph = self._graph
        rows, columns = height + height % 2, width + width % 2
        tokens = np.full((rows, columns), height * width, dtype=np.int32)
        tokens[:height, :width] = np.arange(height * width, dtype=np.int32).reshape(height, width)
        # The four pixels of a square in the order (0,0), (1,0), (0,1), (1,1) as (row, column).
        squares = tokens.reshape(rows // 2, 2, columns // 2, 2).transpose(0, 2, 3, 1).reshape(-1)
        if (rows, columns) != (height, width):
            x = graph.add("Pad", x, graph.ints((0, 0, 0, 0, 1, 0)))
        x = graph.add("Gather", x, graph.constant(f"squares_{height}x{width}", squares), axis=1)
        height, width = rows // 2, columns // 2
        x = graph.layer_norm(graph.reshape(x, -1, height * width, 4 * channels), f"{name}.norm")
        return graph.linear(x, f"{name}.reduction", graph.weights[f"{name}.reduction.weight"], None), height, width
