"""Buffers that follow from a network's sizes alone. A checkpoint may leave them out; one that has others is wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet_batch.models.swin import WindowAttention, relative_position_index

_COUNTER, _INDEX = "num_batches_tracked", "relative_position_index"


def is_derived(name: str) -> bool:
    """Whether the tensor of this name may be missing in a checkpoint."""
    return name.rpartition(".")[2] in (_COUNTER, _INDEX)


def fixed_buffers(network: nn.Module) -> dict[str, Tensor]:
    """What must be the same in every checkpoint, by name, on the CPU; the network may be without memory."""
    return {
        f"{name}.{_INDEX}": relative_position_index(module.window)
        for name, module in network.named_modules()
        if isinstance(module, WindowAttention)
    }


def derived_buffers(network: nn.Module) -> dict[str, Tensor]:
    """All that may be missing, by name: `fixed_buffers`, and training's counters at zero."""
    counters = {
        f"{name}.{_COUNTER}": torch.tensor(0)
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    return {**fixed_buffers(network), **counters}
