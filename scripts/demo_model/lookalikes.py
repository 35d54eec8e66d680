"""Finds held-out subjects that look like trained ones, which families by name do not show, and lists them in a file.

    PYTHONPATH=scripts .venv/bin/python -m demo_model.lookalikes

Two pictures look alike when their silhouettes, cropped and scaled to one size, overlap and the light and dark parts
within agree, whatever the colours. A family with one such picture is neither trained on nor evaluated.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from demo_model.families import held_out
from demo_model.paths import CACHE

LIST = Path(__file__).with_name("lookalikes.txt")
SIDE = 32
LEAST_OVERLAP, LEAST_CORRELATION = 0.75, 0.6
# Seen by people: the same thing from another side, in another state, or one of its parts.
BY_EYE = {
    *("1f4ec", "2666", "1f405", "1f5b1", "1f6eb", "1f432"),
    *("1f3da", "1f3d8", "1f37d", "1f6e0", "1f334"),
    *("person 1f9af", "1f453", "1f58b", "1f69b", "26a1", "1f4cb", "26f4", "1f6a2", "2618", "1f528"),
    "1f6cc",
}


def seen(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the silhouette and the luminance of a subject (H, W, 4), each (2, SIDE * SIDE): as it is, and mirrored."""
    picture = Image.fromarray(pixels)
    box = picture.getchannel("A").point(lambda value: 255 * (value > 20)).getbbox()
    # With room at the shorter sides: a bar is no square.
    picture = ImageOps.pad(picture.crop(box), (SIDE, SIDE), Image.Resampling.BILINEAR)
    both = [np.asarray(one).astype(np.float32) for one in (picture, ImageOps.mirror(picture))]
    alpha = np.stack([(one[..., 3] > 127).ravel() for one in both]).astype(np.float32)
    light = np.stack([one[..., :3].mean(axis=-1).ravel() for one in both]) * alpha
    light = (light - light.sum(1, keepdims=True) / alpha.sum(1, keepdims=True).clip(1)) * alpha
    return alpha, light / np.linalg.norm(light, axis=1, keepdims=True).clip(1e-6)


def find() -> list[tuple[str, str, float, float]]:
    """Return held-out families with the trained one that each looks like most, overlap and correlation."""
    names = json.loads((CACHE / "subjects.json").read_text())
    pictures = np.load(CACHE / "subjects.npy", mmap_mode="r")
    described = [seen(np.array(picture)) for picture in pictures]
    trained = [index for index, name in enumerate(names) if not held_out(name)]
    alphas = np.concatenate([described[index][0] for index in trained])
    lights = np.concatenate([described[index][1] for index in trained])
    found: dict[str, tuple[str, str, float, float]] = {}
    for index, name in enumerate(names):
        if not held_out(name):
            continue
        alpha, light = described[index][0][0], described[index][1][0]
        shared = alphas @ alpha
        overlap = shared / (alphas.sum(1) + alpha.sum() - shared).clip(1)
        # A picture of one shade is like every other such picture.
        correlation = np.where(np.linalg.norm(light) > 0.5, lights @ light, 1.0)
        score = np.where(overlap >= LEAST_OVERLAP, correlation, -1)
        best = int(score.argmax())
        if score[best] >= LEAST_CORRELATION and score[best] > found.get(name, ("", "", 0.0, -1.0))[3]:
            found[name] = (name, names[trained[best // 2]], float(overlap[best]), float(score[best]))
    return sorted(found.values(), key=lambda row: -row[3])


def lookalikes() -> set[str]:
    """Return the held-out families that look like trained ones."""
    return BY_EYE | set(LIST.read_text().splitlines())


if __name__ == "__main__":
    rows = find()
    for row in rows:
        print("{:24} {:24} overlap {:.3f} correlation {:.3f}".format(*row))
    LIST.write_text("".join(f"{name}\n" for name in sorted(row[0] for row in rows)))
    print(len(rows))
