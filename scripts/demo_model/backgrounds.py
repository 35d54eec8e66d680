"""Collects backgrounds without salient subjects: panoramas, landscape photos, surfaces, procedural pictures."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import OpenEXR
from PIL import Image, ImageFilter

from demo_model.paths import CACHE, SOURCES
from demo_model.textures import texture

# Only photos under CC-BY-4.0 or CC0 (the package has share-alike ones too), cut to parts without a subject:
# left, upper, right, lower as fractions.
PHOTOS = {
    "aitzgorri": ("aitzgorri_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "picosdeeuropa": ("picosdeeuropa_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "life": ("life_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "friends": ("friends_by_Aitzol_Berasategi.jpg", (0.5, 0.05, 1, 0.42)),
    "concrete": ("Picture_0B_by_freespace.jpg", (0, 0.05, 0.14, 1)),
    "umang": ("umang_by_Abhishek_Mudgal.jpg", (0, 0, 1, 1)),
    "seeding": ("seeding_by_Clements_Engelhardt.jpg", (0.45, 0.35, 1, 1)),
}
SURFACES = ("brick", "grass", "gravel")
PROCEDURAL = 160
SUN = 1000.0  # lamps in these pictures stay below, and the scenes are about 0.1 to 1
HELD_OUT_PROCEDURAL = 20


def _photo(name: str, box: tuple[float, float, float, float]) -> np.ndarray:
    picture = Image.open(SOURCES / "lomiri" / "usr" / "share" / "backgrounds" / name).convert("RGB")
    picture = picture.crop([round(part * side) for part, side in zip(box, picture.size * 2, strict=True)])
    picture.thumbnail((1600, 1600), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _panoramas() -> dict[str, np.ndarray]:
    pictures = {}
    for script in sorted((SOURCES / "pmndrs" / "package" / "hdri").glob("*.exr.js")):
        encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", script.read_text())
        if encoded is None:
            raise SystemExit(f"error: {script} holds no base64 picture; is this another version of the package?")
        path = CACHE / script.stem
        path.write_bytes(base64.b64decode(encoded.group(1)))
        light = OpenEXR.File(str(path)).channels()["RGB"].pixels.astype(np.float32)
        # Packed with losses, the sun rings: black and coloured marks around it in a white sky.
        sun = Image.fromarray(((light.max(axis=-1) > SUN) * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(13))
        light = np.where(np.asarray(sun)[..., None] > 0, np.float32(SUN), light)
        path.unlink()
        light = np.clip(light * 0.3 / np.median(light.mean(axis=-1)), 0, None)
        shown = (light / (1 + 0.6 * light)).clip(0, 1) ** (1 / 2.2)
        # Above and below lie the stretched poles.
        band = Image.fromarray((shown * 255).astype(np.uint8)[40:216])
        pictures[script.name.split(".")[0]] = np.asarray(band.resize((1024, 352), Image.Resampling.BICUBIC))
    return pictures


def prepare() -> None:
    """Write the backgrounds, arrays (height, width, 3) uint8 of several sizes, to the cache."""
    if (CACHE / "backgrounds.npz").exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    pictures = {name: _photo(*photo) for name, photo in PHOTOS.items()}
    pictures |= _panoramas()
    for name in SURFACES:
        surface = Image.open(SOURCES / "skimage" / "skimage" / "data" / f"{name}.png").convert("RGB")
        pictures[name] = np.asarray(surface)
    rng = np.random.default_rng(11)
    for index in range(PROCEDURAL):
        kind = "held-out procedural" if index < HELD_OUT_PROCEDURAL else "procedural"
        pictures[f"{kind} {index}"] = texture(rng, 512, 512)
    np.savez(CACHE / "backgrounds.npz", **pictures)
    sides = {name: picture.shape[:2] for name, picture in pictures.items()}
    print(f"{len(pictures)} backgrounds, {len(pictures) - PROCEDURAL} of them photographs", flush=True)
    (CACHE / "backgrounds.json").write_text(json.dumps(sides))
