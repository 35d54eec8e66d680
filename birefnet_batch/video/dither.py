"""Planes of 16 bits to 10, by ordered dither: areas keep their mean, which rounding would move."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

_SIDE = 8
_SHIFT = 6
_MOST = 1023


def _bayer(side: int) -> NDArray[np.uint32]:
    """Bayer's matrix (1973) of a power of two: 0 to side*side - 1, each once."""
    if side == 1:
        return np.zeros((1, 1), np.uint32)
    half = 4 * _bayer(side // 2)
    return np.block([[half, half + 2], [half + 3, half + 1]])


_THRESHOLDS = _bayer(_SIDE)


def dithered(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """Make a frame of 10 bits of one of 16.

    Args:
        frame: planar, little-endian, of 16 bits a component.
        pixel_format: the same planes with 10.

    Returns:
        The frame, with the matrix and the range of the one given.
    """
    made = av.VideoFrame(frame.width, frame.height, pixel_format)
    made.colorspace, made.color_range = frame.colorspace, frame.color_range
    for source, target in zip(frame.planes, made.planes, strict=True):
        values, written = (
            np.frombuffer(memoryview(plane), "<u2").reshape(-1, plane.line_size // 2)[: plane.height, : plane.width]
            for plane in (source, target)
        )
        repeats = (-(-source.height // _SIDE), -(-source.width // _SIDE))
        sums = values + np.tile(_THRESHOLDS, repeats)[: source.height, : source.width]
        np.minimum(sums >> _SHIFT, _MOST, out=written, casting="unsafe")
    return made
