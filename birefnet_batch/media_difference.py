"""How far two videos are from each other, frame by frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from birefnet_batch.video.reader import FrameReader


@dataclass(frozen=True)
class Difference:
    """What two videos differ by, as 8-bit RGB."""

    psnr_db: float = math.inf
    """Peak signal to noise of the worst frame, in dB; infinite when all are equal."""
    mean_error: float = 0.0
    """Mean absolute difference over all frames, in [0, 1]."""
    reason: str = ""
    """Why frames cannot be compared: another size or count. The figures are then those of the worst case."""


def compare_media(first: Path, second: Path, timeout_s: float = 60.0) -> Difference:
    """Decode two videos side by side and compare them.

    PSNR is 10 log10(255² / mean squared error), over all pixels and colours of a frame.

    Raises:
        InputError: one of them cannot be decoded.
    """
    worst, total, count = math.inf, 0.0, 0
    with FrameReader(first, timeout_s=timeout_s) as one, FrameReader(second, timeout_s=timeout_s) as two:
        sizes = [(reader.info.width, reader.info.height) for reader in (one, two)]
        if sizes[0] != sizes[1]:
            return Difference(0.0, 1.0, f"{sizes[0][0]}x{sizes[0][1]} and {sizes[1][0]}x{sizes[1][1]} pixels")
        for left, right in zip_longest(one, two):
            if left is None or right is None:
                return Difference(0.0, 1.0, f"one ends after {count} frames and the other goes on")
            error = left.image.astype(np.float32) - right.image
            left.release()
            right.release()
            squared = float(np.mean(np.square(error)))
            if squared:
                worst = min(worst, 10 * math.log10(255**2 / squared))
            total += float(np.mean(np.abs(error))) / 255
            count += 1
    return Difference(worst, total / max(1, count))
