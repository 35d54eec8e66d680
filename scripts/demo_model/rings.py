"""Mends panoramas of high dynamic range that a lossy codec has drawn black outlines into."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

BRIGHT, BLACK, DARK = 3.0, 0.02, 0.4  # times the median: lamps and skies, what rings, and what may belong to it


def _grown(marks: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray((marks * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(side))) > 0


def without_rings(light: np.ndarray) -> np.ndarray:
    """Return linear light (H, W, 3) float32 whose black outlines around what is bright are filled from beside them."""
    median = np.median(light.mean(axis=-1))
    rings = (light.min(axis=-1) < BLACK * median) & _grown(light.max(axis=-1) > BRIGHT * median, 9)
    rings |= _grown(rings, 3) & (light.max(axis=-1) < DARK * median)
    filled, known = np.where(rings[..., None], 0, light), ~rings
    height, width = known.shape
    while not known.all():
        wide, counted = np.pad(filled, ((1, 1), (1, 1), (0, 0))), np.pad(known.astype(np.float32), 1)
        windows = [(slice(y, y + height), slice(x, x + width)) for y in range(3) for x in range(3)]
        total, count = sum(wide[window] for window in windows), sum(counted[window] for window in windows)
        new = ~known & (count > 0)
        filled[new] = total[new] / count[new][:, None]
        known |= new
    return filled
