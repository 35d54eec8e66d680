"""A linear layer computes the same before and after it is made faster."""

from __future__ import annotations

import pytest
import torch

from birefnet_batch.models.linear import Activation, Linear


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_an_activation_is_applied_whether_the_layer_is_prepared_or_not(activation: Activation) -> None:
    torch.manual_seed(0)
    layer, x = Linear(16, 8, activation=activation), torch.randn(5, 16)
    plain = {"none": lambda y: y, "relu": torch.relu, "gelu": torch.nn.functional.gelu}[activation]
    wanted = plain(torch.nn.functional.linear(x, layer.weight, layer.bias))
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), wanted)
        layer.prepare()
        torch.testing.assert_close(layer(x), wanted)
