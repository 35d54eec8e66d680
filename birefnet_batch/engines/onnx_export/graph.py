"""An ONNX graph in the making: nodes in order, constants once each, one number format for the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from birefnet_batch.errors import EngineError

Array = NDArray[Any]

# Gelu and GridSample's present form came with 20; convolutions of bfloat16 with 22.
OPSETS = {"fp32": 20, "fp16": 20, "bf16": 22}
# OpenVINO (2025.4) takes GridSample as it was before 20.
OPENVINO_OPSET = 19
_IR_VERSION = 10
_TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass(frozen=True)
class Map:
    """A value (B, channels, height, width)."""

    value: str
    size: tuple[int, int]
    """(height, width)."""


class Graph:
    """Collects nodes and initializers.

    Values are known by their names. Weights are kept in `precision`, and `single` and `working` convert between it
    and float32 for what has to be float32 in a half model too.

    Args:
        precision: fp32, fp16 or bf16.
        weights: the state dict's tensors, float32.
        opset: version of ONNX's operators; None is the precision's own.
    """

    def __init__(self, precision: str, weights: Mapping[str, Array], opset: int | None = None) -> None:
        self.precision = precision
        self.opset = opset or OPSETS[precision]
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._count = 0

    @property
    def half(self) -> bool:
        """Whether values are in half precision."""
        return self.precision != "fp32"

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; the name of its output."""
        self._count += 1
        name = f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        """An initializer kept as it is, made once for each name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, name: str, value: Array) -> str:
        """An initializer in the graph's precision, made once for each name."""
        if name not in self._constants:
            self._constants[name] = _tensor(name, value, self.precision)
        return name

    def ints(self, values: Sequence[int]) -> str:
        """A vector of int64, shared by all who use the same."""
        return self.constant("ints_" + "_".join(map(str, values)).replace("-", "m"), np.array(values, dtype=np.int64))

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; -1, here always the batch, takes what is left."""
        return self.add("Reshape", x, self.ints(shape))

    def linear(self, x: str, name: str, weight: Array, bias: Array | None) -> str:
        """(..., inputs) -> (..., outputs) by a weight of shape (outputs, inputs)."""
        product = self.add("MatMul", x, self.weight(f"{name}.weight.t", weight.T))
        if bias is None:
            return product
        return self.add("Add", product, self.weight(f"{name}.bias", bias))

    def layer_norm(self, x: str, name: str) -> str:
        """Over the last axis, statistics in float32 whatever the precision (`stash_type`)."""
        scale = self.weight(f"{name}.weight", self.weights[f"{name}.weight"])
        bias = self.weight(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5, stash_type=1)

    def gelu(self, x: str) -> str:
        """x times the normal distribution's cumulative function; out of older operators where Gelu is not there."""
        if self.opset >= 20:
            return self.add("Gelu", x)
        x = self.single(x)
        half, one = (self.constant(f"number_{value}", np.array(value, dtype=np.float32)) for value in (0.5, 1.0))
        scaled = self.add("Mul", x, self.constant("root_half", np.array(0.5**0.5, dtype=np.float32)))
        twice = self.add("Add", self.add("Erf", scaled), one)
        return self.working(self.add("Mul", self.add("Mul", x, twice), half))

    def convolve(self, x: str, name: str, weight: Array, bias: Array | None, stride: int = 1) -> str:
        """A convolution that keeps the map's sides, or one of patches where `stride` is the kernel's side."""
        kernel = weight.shape[2]
        inputs = [x, self.weight(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.weight(f"{name}.bias", bias))
        reach = kernel // 2 if stride == 1 else 0
        return self.add("Conv", *inputs, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[reach] * 4)

    def resize(self, x: str, before: tuple[int, int], after: tuple[int, int]) -> str:
        """Bilinear, corners aligned, from one (height, width) to another."""
        if before == after:
            return x
        scales = np.array((1, 1, *map(_scale, before, after)), dtype=np.float32)
        name = "scales_" + "_".join(map(str, (*before, *after)))
        # By scales, since TensorRT takes no sizes that leave the batch out. Their values give the size alone: with
        # aligned corners positions follow from the sizes.
        return self.add(
            "Resize",
            *(x, "", self.constant(name, scales)),
            mode="linear",
            coordinate_transformation_mode="align_corners",
        )

    def single(self, x: str) -> str:
        """The value in float32."""
        return self._cast(x, TensorProto.FLOAT)

    def working(self, x: str) -> str:
        """The float32 value in the graph's precision."""
        return self._cast(x, _TYPES[self.precision])

    def _cast(self, x: str, kind: int) -> str:
        if not self.half:
            return x
        return self.add("Cast", x, to=kind)

    def finish(self, output: str, width: int, height: int, metadata: dict[str, str]) -> ModelProto:
        """The model: float32 `image` (batch, 3, height, width) to float32 `logits` (batch, 1, height, width)."""
        self.nodes.append(helper.make_node("Identity", [output], ["logits"], name="logits"))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, height, width])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, height, width])
        graph = helper.make_graph(self.nodes, "birefnet", [image], [logits], list(self._constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=_IR_VERSION,
            producer_name="birefnet_batch",
        )
        helper.set_model_props(model, metadata)
        return model


def _scale(before: int, after: int) -> np.float32:
    """The smallest float32 whose product with `before`, in single or double precision, rounded down is `after`."""
    scale = np.float32(after / before)
    # Rounding in single precision can only add to a product that double precision has just below `after`.
    return scale if int(before * float(scale)) >= after else np.nextafter(scale, np.float32(np.inf))


def _tensor(name: str, value: Array, precision: str) -> TensorProto:
    value = np.asarray(value, order="C")
    if precision == "fp32":
        return numpy_helper.from_array(value.astype(np.float32, copy=False), name)
    if precision == "fp16":
        kind, ends = np.dtype(np.float16), "float16 ends at 65504; give engine.precision=fp32 or bf16"
    else:
        import ml_dtypes

        kind, ends = np.dtype(ml_dtypes.bfloat16), "bfloat16 ends at 3.39e38; give engine.precision=fp32"
    with np.errstate(over="ignore"):
        half = value.astype(kind)
    if (np.isinf(half.astype(np.float32)) & np.isfinite(value)).any():
        largest = float(np.abs(value[np.isfinite(value)]).max())
        raise EngineError(f"The weights do not fit into {precision}: {name} has the value {largest:.3g}, and {ends}")
    return numpy_helper.from_array(half, name)
