"""Products with a weight that is laid out once. oneDNN's beat the default ones of torch by a tenth or more on a CPU."""

from __future__ import annotations

import platform
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "relu", "gelu"]
_PACKED_DTYPES = (torch.float32, torch.bfloat16)


class Product:
    """`activation(x @ weight.T + bias)` for inference.

    Args:
        weight: (outputs, inputs); kept in another layout where that is faster.
        bias: (outputs,).
        activation: what follows; gelu is the exact one (erf).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation = "none") -> None:
        self._bias = bias
        self._activation = activation
        self._packed = packs(weight.device, weight.dtype)
        self._weight = _mkldnn()._reorder_linear_weight(weight.contiguous()) if self._packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        if self._packed:
            # The algorithm of gelu: "none" is erf.
            product = _mkldnn()._linear_pointwise(x, self._weight, self._bias, self._activation, [], "none")
            return cast(Tensor, product)
        return _activated(F.linear(x, self._weight, self._bias), self._activation)


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's product is there for this device and dtype, and the faster one."""
    if device.type != "cpu" or dtype not in _PACKED_DTYPES or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not cast(Any, torch.backends.mkldnn).is_available() or not hasattr(_mkldnn(), "_linear_pointwise"):
        return False
    return dtype != torch.bfloat16 or bool(_mkldnn()._is_mkldnn_bf16_supported())


def _mkldnn() -> Any:
    return torch.ops.mkldnn


class Linear(nn.Linear):
    """A linear layer, an activation behind it where one is given, that `prepare` makes faster."""

    _product: Product | None = None

    def __init__(self, inputs: int, outputs: int, bias: bool = True, activation: Activation = "none") -> None:
        super().__init__(inputs, outputs, bias)
        self._activation: Activation = activation

    def prepare(self) -> None:
        """Lay the weight out for inference; the layer has no parameters any more."""
        if packs(self.weight.device, self.weight.dtype):
            bias = None if self.bias is None else self.bias.detach()
            self._product = Product(self.weight.detach(), bias, self._activation)
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if self._product is not None:
            return self._product(x)
        return _activated(super().forward(x), self._activation)


def _activated(product: Tensor, activation: Activation) -> Tensor:
    if activation == "relu":
        return F.relu(product, inplace=True)
    return F.gelu(product) if activation == "gelu" else product
