"""The subject over a background, and floats to bytes."""

from __future__ import annotations

from torch import Tensor


def composite(foreground: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Lay a foreground over a background: F*a + B*(1-a).

    Args:
        foreground: (B, 3, H, W) float in [0, 1], not premultiplied.
        alpha: (B, 1, H, W) float in [0, 1].
        background: (3,) or (B, 3, H, W) float in [0, 1].

    Returns:
        (B, 3, H, W) float in [0, 1].
    """
    if background.ndim == 1:
        background = background.view(1, -1, 1, 1)
    return background + (foreground - background) * alpha


def to_bytes(images: Tensor) -> Tensor:
    """(B, C, H, W) float in [0, 1] -> (B, H, W, C) uint8, rounded to the nearest value, contiguous."""
    import torch

    return images.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
