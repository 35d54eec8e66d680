"""Procedural pictures: surfaces of subjects and backgrounds without a subject."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise(rng: np.random.Generator, height: int, width: int, coarse: int, octaves: int) -> np.ndarray:
    """Return smooth noise (height, width) in about [0, 1], the coarsest waves `coarse` to a side."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = min(coarse << octave, max(height, width))
        grid = rng.random((cells + 1, cells + 1), dtype=np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.6**octave
    return total / sum(0.6**octave for octave in range(octaves))


def _palette(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Colour values in [0, 1] along a random path of three to five colours."""
    count = int(rng.integers(3, 6))
    base = rng.uniform(30, 225, 3)
    colours = (base + rng.normal(0, rng.uniform(15, 80), (count, 3))).clip(0, 255)
    stops = np.linspace(0, 1, count)
    return np.stack([np.interp(values, stops, colours[:, channel]) for channel in range(3)], axis=-1)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return an RGB picture (height, width, 3) uint8 of noise, waves, stripes, tiles or a gradient."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    angle, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(2, 30)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    bend = noise(rng, height, width, int(rng.integers(2, 6)), 4)
    kind = rng.integers(6)
    if kind == 0:
        values = bend
    elif kind == 1:
        values = 0.5 + 0.5 * np.sin(frequency * 2 * np.pi * (along + 0.3 * rng.random() * bend))
    elif kind == 2:
        values = (np.floor(along * frequency) + np.floor(across * frequency)) % 2 * 0.8 + 0.2 * bend
    elif kind == 3:
        row = np.floor(across * frequency)
        seam = np.minimum((along * frequency / 2 + 0.5 * (row % 2)) % 1, across * frequency % 1)
        values = np.where(seam < 0.08, 0.0, 0.4 + 0.6 * bend)
    elif kind == 4:
        values = along + 0.2 * bend
    else:
        values = np.abs(2 * bend - 1) ** 0.7
    spread = np.ptp(values)
    picture = _palette(rng, (values - values.min()) / (spread if spread > 0 else 1))
    if rng.random() < 0.6:
        grain = noise(rng, height, width, 64, 2)[..., None] - 0.5
        picture = picture + grain * rng.uniform(10, 90)
    return picture.clip(0, 255).astype(np.uint8)
