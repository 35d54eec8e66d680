"""Floats in [0, 1] to a picture's levels, and how many of them there are."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = {torch.uint8: 255, torch.uint16: 65535}


def full_scale(levels: Tensor) -> int:
    """The level that stands for 1, of uint8 or uint16."""
    return _MOST[levels.dtype]


def to_bytes(images: Tensor) -> Tensor:
    """(B, C, H, W) float in [0, 1] -> (B, H, W, C) uint8, rounded to the nearest value, contiguous."""
    if images.device.type == "cpu" and images.dtype == torch.float32:
        from birefnet_batch.matting.bytes_cpu import interleave

        batch, channels, height, width = images.shape
        made = torch.empty((batch, height, width, channels), dtype=torch.uint8)
        for planes, pixels in zip(images.contiguous().numpy(), made.numpy(), strict=True):
            interleave(planes, pixels)
        return made
    return _rounded(images, torch.uint8)


def to_words(images: Tensor) -> Tensor:
    """The same with uint16."""
    return _rounded(images, torch.uint16)


def _rounded(images: Tensor, dtype: torch.dtype) -> Tensor:
    most = _MOST[dtype]
    return images.mul(most).add_(0.5).clamp_(0, most).to(dtype).permute(0, 2, 3, 1).contiguous()
