"""RGB of 16 bits as libswscale has it, whose white is not 65535 where the other side is YCbCr."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WHITE = 65535
LIMITED_WHITE = 255 << 8
"""White of what is converted from or to YCbCr of limited range, whatever its bits."""
GREY_BLACK, GREY_WHITE = 16 << 8, 235 << 8
"""Black and white of what is converted from grey of limited range, of which libswscale knows nothing."""


def full_white(bits: int) -> int:
    """White of what is converted from YCbCr of full range, and opacity, with so many bits."""
    return ((1 << bits) - 1) << (16 - bits)


@lru_cache(16)
def table(white: int, wanted: int, black: int = 0) -> NDArray[np.uint16]:
    """The levels, (65536,), that one white's are with another's; none is above 65535, nor above a white of 255.

    Args:
        white: what becomes `wanted`.
        wanted: 255, `WHITE` or `LIMITED_WHITE`.
        black: what becomes 0, as does all below.
    """
    levels = np.rint((np.arange(65536) - black) * (wanted / (white - black)))
    made: NDArray[np.uint16] = np.clip(levels, 0, wanted if wanted == 255 else WHITE).astype(np.uint16)
    return made
