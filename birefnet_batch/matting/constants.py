"""Numbers of a formula in a device's memory."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

Numbers = tuple[float, ...] | tuple[tuple[float, ...], ...]


@cache
def constant(numbers: Numbers, device: torch.device) -> Tensor:
    """A float32 tensor of these, not to be written to; copied once, for each copy waits for all that a GPU has to do.

    Args:
        numbers: of a vector, or a matrix's rows.
        device: where.
    """
    # Inference may ask first, and training use it then.
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)
