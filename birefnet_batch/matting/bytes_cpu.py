"""Planes of floats to interleaved bytes on a CPU, in one sweep, where torch makes five pictures on the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from birefnet_batch.matting.compiled import compiled


@compiled
def interleave(planes: NDArray[np.float32], made: NDArray[np.uint8]) -> None:
    """Round (C, H, W) in [0, 1] to the nearest of 256 levels.

    Args:
        planes: contiguous; values outside of [0, 1] give the nearest level.
        made: (H, W, C) to write, contiguous.
    """
    channels, height, width = planes.shape
    for y in range(height):
        for channel in range(channels):
            row = planes[channel, y]
            for x in range(width):
                value = row[x] * np.float32(255) + np.float32(0.5)
                made[y, x, channel] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))
