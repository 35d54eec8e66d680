"""Frames to network input, logits to mattes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_batch.matting.constants import constant
from birefnet_batch.matting.levels import full_scale

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def frames_to_input(frames: Tensor, width: int, height: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Stretch frames to the operating resolution, antialiased bilinear, and normalise them.

    Args:
        frames: (B, H, W, 3) uint8 or uint16 RGB.
        width: pixels; the aspect is not kept.
        height: pixels.
        dtype: of the result; the arithmetic is float32.

    Returns:
        (B, 3, height, width).
    """
    pixels = frames.permute(0, 3, 1, 2)
    if pixels.shape[-2:] != (height, width):
        # Colour by colour: three float planes of a 4K frame are 100 MB.
        parts = [
            F.interpolate(colour.to(torch.float32), size=(height, width), mode="bilinear", antialias=True)
            for colour in ([pixels[:, c : c + 1] for c in range(3)] if frames.device.type == "cpu" else [pixels])
        ]
        pixels = torch.cat(parts, dim=1)
    mean, std = (constant(numbers, frames.device).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    most = full_scale(frames)
    return ((pixels.to(torch.float32) - most * mean) / (most * std)).to(dtype).contiguous()


def logits_to_matte(logits: Tensor, width: int, height: int) -> Tensor:
    """Turn logits into mattes of the frame's size: sigmoid, then bilinear. Never stretched by their own range.

    Args:
        logits: (B, 1, h, w), any float dtype.
        width: pixels of the frame.
        height: pixels of the frame.

    Returns:
        (B, 1, height, width) float32 in [0, 1].
    """
    matte = logits.float().sigmoid()
    if matte.shape[-2:] != (height, width):
        matte = F.interpolate(matte, size=(height, width), mode="bilinear", align_corners=False)
    return matte
