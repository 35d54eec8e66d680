"""How far two videos are from each other, frame by frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from birefnet_batch.video.info import Levels
from birefnet_batch.video.reader import Frame, FrameReader


@dataclass(frozen=True)
class Difference:
    """What two videos differ by, as 8-bit RGB over black and, where one of them has it, 8-bit transparency."""

    psnr_db: float = math.inf
    """Peak signal to noise of the worst frame, in dB, of its colours or transparency; infinite when all are equal."""
    mean_error: float = 0.0
    """Mean absolute difference of the colours over all frames, in [0, 1]."""
    alpha_error: float | None = None
    """Likewise of the transparency; None when both are opaque."""
    reason: str = ""
    """Why frames cannot be compared: another size or count. The figures are then those of the worst case."""


def compare_media(first: Path, second: Path) -> Difference:
    """Decode two videos side by side and compare them.

    PSNR is 10 log10(255² / mean squared error), over all pixels and colours of a frame, and likewise over its
    transparency, which colours that are dark do not show.

    Raises:
        InputError: one of them cannot be decoded.
    """
    worst, count = math.inf, 0
    totals = {"colours": 0.0, "alpha": 0.0}
    with FrameReader(first) as one, FrameReader(second) as two:
        transparent = one.info.alpha or two.info.alpha
        sizes = [(reader.info.width, reader.info.height) for reader in (one, two)]
        if sizes[0] != sizes[1]:
            return Difference(0.0, 1.0, reason=f"{sizes[0][0]}x{sizes[0][1]} and {sizes[1][0]}x{sizes[1][1]} pixels")
        for left, right in zip_longest(one, two):
            if left is None or right is None:
                return Difference(0.0, 1.0, reason=f"one ends after {count} frames and the other goes on")
            pairs = {"colours": (left.image, right.image)}
            if transparent:
                pairs["alpha"] = (_alpha(left), _alpha(right))
            for name, (ours, theirs) in pairs.items():
                error = ours.astype(np.float32) - theirs
                squared = float(np.mean(np.square(error)))
                if squared:
                    worst = min(worst, 10 * math.log10(255**2 / squared))
                totals[name] += float(np.mean(np.abs(error))) / 255
            left.release()
            right.release()
            count += 1
    means = {name: total / max(1, count) for name, total in totals.items()}
    return Difference(worst, means["colours"], means["alpha"] if transparent else None)


def _alpha(frame: Frame) -> Levels:
    return np.full(frame.image.shape[:2], 255, np.uint8) if frame.alpha is None else frame.alpha
