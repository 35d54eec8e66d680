"""What a network's weights alone decide, computed once in a network that is prepared for inference."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import torch
from torch import nn

Made = TypeVar("Made")
_ATTRIBUTE = "_kept"


def begin_keeping(network: nn.Module) -> None:
    """From now on `kept` makes nothing of the network's modules twice; their weights must not change any more."""
    for module in network.modules():
        vars(module)[_ATTRIBUTE] = {}


def kept(module: nn.Module, what: Hashable, make: Callable[[], Made]) -> Made:
    """Return what `make` gives for a module: the first time it is asked for, or each time where nothing is kept.

    A CUDA graph reads the same memory at each launch: what is kept lives as long as the module.
    """
    held: dict[Hashable, Any] | None = vars(module).get(_ATTRIBUTE)
    if held is None:
        return make()
    if what not in held:
        # Not tensors of inference mode, which nothing outside of it could use.
        with torch.inference_mode(False), torch.no_grad():
            held[what] = make()
    return cast(Made, held[what])
