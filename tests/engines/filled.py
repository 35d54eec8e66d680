"""Networks with the reference's deterministic weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from reference.fill import fill

from birefnet_batch.models import build_network
from birefnet_batch.models.birefnet import BiRefNet


@cache
def filled_arrays(network: str) -> Mapping[str, np.ndarray[Any, Any]]:
    """The state dict as numpy arrays: floats from `fill`, integer buffers as they are.

    All tests share the one mapping, so that it cannot be changed.
    """
    return MappingProxyType(
        {
            name: fill(name, tuple(value.shape)) if value.is_floating_point() else value.numpy()
            for name, value in build_network(network).state_dict().items()
        }
    )


def filled_network(network: str) -> BiRefNet:
    """The network with these weights, in eval mode."""
    built = build_network(network)
    built.load_state_dict({name: torch.from_numpy(value) for name, value in filled_arrays(network).items()})
    return built.eval()
