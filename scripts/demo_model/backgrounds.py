"""Collects backgrounds without salient subjects: panoramas, landscape photos, surfaces, procedural pictures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import OpenEXR
from PIL import Image

from demo_model.paths import CACHE, SOURCES
from demo_model.qt_resources import read
from demo_model.recipe import Recipe
from demo_model.rings import without_rings
from demo_model.textures import texture

Box = tuple[float, float, float, float]  # left, upper, right, lower as fractions

# Only photos under CC-BY-4.0 (the package has share-alike ones too), cut to parts without a subject.
PHOTOS: dict[str, tuple[str, Box]] = {
    "aitzgorri": ("aitzgorri_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "picosdeeuropa": ("picosdeeuropa_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "life": ("life_by_Aitzol_Berasategi.jpg", (0, 0, 1, 1)),
    "friends": ("friends_by_Aitzol_Berasategi.jpg", (0.55, 0.05, 1, 0.42)),
    "concrete": ("Picture_0B_by_freespace.jpg", (0, 0.43, 0.14, 1)),
    "umang": ("umang_by_Abhishek_Mudgal.jpg", (0, 0, 1, 1)),
}
# Of the photos that the package's own README files call CC0 or in the public domain (one: CC-BY-3.0), parts without a
# subject.
MONUMENTS: dict[str, Box] = {
    "wonders/greatWallofChina": (0, 0, 0.72, 0.5),
    "wonders/machuPicchu": (0.3, 0.5, 1, 1),
    "wonders/petra": (0.16, 0.27, 0.77, 0.9),
    "wonders/colosseum": (0.08, 0.2, 0.85, 0.7),
    "india/ajantaCave": (0, 0, 1, 1),
    "india/hawaMahal": (0.02, 0.3, 0.98, 0.88),
    "india/konarkSunTemple": (0, 0.3, 1, 1),
    "india/goldenTemple": (0, 0.71, 1, 1),
    "india/greatStupa": (0.34, 0.55, 0.84, 1),
    "egypt/bentPyramid": (0, 0.62, 1, 1),
    "egypt/redPyramid": (0, 0.7, 1, 1),
    "egypt/greatPyramidOfGiza": (0.2, 0.4, 0.85, 0.84),
    "egypt/meidumPyramid": (0.37, 0.66, 0.75, 1),
    "usa/canyondeChelly": (0, 0, 1, 1),
    "usa/fortSumter": (0.2, 0.38, 0.64, 0.62),
    "usa/navajo": (0, 0, 1, 1),
    "usa/mountRushmore": (0, 0.62, 1, 1),
    "france/chateaudeChambord": (0, 0.66, 1, 1),
    "france/citedeCarcassonne": (0.42, 0.43, 1, 1),
    "france/palaisdesPapes": (0.1, 0.45, 0.88, 0.83),
    "france/pontduGard": (0, 0.1, 0.19, 0.75),
    "france/rocamadour": (0, 0.15, 0.28, 0.58),
    "france/montStMichel": (0, 0.62, 1, 1),
    "france/reimsCathedral": (0.05, 0.6, 0.82, 0.95),
    "france/arlesAmphitheater": (0.2, 0.44, 0.72, 0.7),
}
OTHER_GAMES: dict[str, Box] = {
    "clickgame/sea1": (0, 0, 1, 1),
    "clickgame/sea2": (0, 0, 1, 1),
    "clickgame/sea4": (0, 0.6, 1, 1),
    "clickgame/sea5": (0, 0, 1, 1),
    "erase/gibbon": (0, 0, 0.35, 1),
}
# Not its sunrise, sunset and studio: names of panoramas that we have from another one.
WORLDS: dict[str, Box] = {
    "courtyard": (0.285, 0.05, 0.555, 0.95),
    "forest": (0, 0.05, 1, 0.95),
    "interior": (0.47, 0.05, 0.72, 0.57),
    "night": (0, 0.05, 1, 0.8),
}
# Whole buildings before a sky, which a matte would show.
LEFT_OUT = {"city"}
# What is left of panoramas where something stands that a matte would show: benches, machines, a lamp, a lone tree.
PARTS: dict[str, Box] = {
    "dawn": (0.36, 0, 0.82, 1),
    "esplanade": (0.28, 0.75, 0.72, 1),
    "hall": (0, 0.4, 1, 1),
    "lab": (0, 0, 1, 0.5),
    "lobby": (0.63, 0, 1, 1),
    "night": (0.22, 0, 0.5, 1),
    "park": (0.25, 0, 0.97, 1),
    "studio": (0.39, 0.36, 0.52, 0.8),
    "sunrise": (0.38, 0, 0.8, 1),
    "sunset": (0.5, 0, 0.61, 1),
    "venice": (0.33, 0, 0.94, 1),
    "warehouse": (0.52, 0, 0.92, 1),
    "workshop": (0, 0, 1, 0.42),
}
SURFACES = ("brick", "grass", "gravel")
PROCEDURAL = 160
HELD_OUT_PROCEDURAL = 20
MADE_BY = ("backgrounds", "qt_resources", "rings", "textures")


def _photo(picture: Image.Image, box: Box) -> np.ndarray:
    picture = picture.convert("RGB")
    picture = picture.crop([round(part * side) for part, side in zip(box, picture.size * 2, strict=True)])
    picture.thumbnail((1600, 1600), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _wallpapers() -> dict[str, np.ndarray]:
    folder = SOURCES / "lomiri" / "usr" / "share" / "backgrounds"
    return {name: _photo(Image.open(folder / file), box) for name, (file, box) in PHOTOS.items()}


def _places() -> dict[str, np.ndarray]:
    pictures = {}
    games = {f"explore_monuments/{name}": box for name, box in MONUMENTS.items()} | OTHER_GAMES
    for place, box in games.items():
        game, _, name = place.partition("/")
        packed = SOURCES / "gcompris" / "usr" / "share" / "gcompris-qt" / "rcc" / f"{game}.rcc"
        content = read(packed, f"gcompris/src/activities/{game}/resource/{name}.webp")
        pictures[name.rpartition("/")[2]] = _photo(Image.open(io.BytesIO(content)), box)
    return pictures


def _shown(path: Path) -> Image.Image:
    """Return a panorama of linear light as a picture, toned as a camera does."""
    light = without_rings(OpenEXR.File(str(path)).channels()["RGB"].pixels.astype(np.float32))
    light = np.clip(light * 0.3 / np.median(light.mean(axis=-1)), 0, None)
    shown = (light / (1 + 0.6 * light)).clip(0, 1) ** (1 / 2.2)
    return Image.fromarray((shown * 255).astype(np.uint8))


def _panoramas() -> dict[str, np.ndarray]:
    pictures = {}
    for script in sorted((SOURCES / "pmndrs" / "package" / "hdri").glob("*.exr.js")):
        name = script.name.split(".")[0]
        if name in LEFT_OUT:
            continue
        encoded = re.search(r"base64,([A-Za-z0-9+/=]+)", script.read_text())
        if encoded is None:
            raise SystemExit(f"error: {script} holds no base64 picture; is this another version of the package?")
        path = CACHE / script.stem
        path.write_bytes(base64.b64decode(encoded.group(1)))
        # Above and below lie the stretched poles.
        band = _shown(path).crop((0, 40, 512, 216)).resize((1024, 352), Image.Resampling.BICUBIC)
        path.unlink()
        pictures[name] = _photo(band, PARTS.get(name, (0, 0, 1, 1)))
    folder = SOURCES / "blender" / "usr" / "share" / "blender" / "datafiles" / "studiolights" / "world"
    return pictures | {f"world {name}": _photo(_shown(folder / f"{name}.exr"), box) for name, box in WORLDS.items()}


def prepare() -> None:
    """Write the backgrounds, arrays (height, width, 3) uint8 of several sizes, to the cache."""
    recipe = Recipe("backgrounds", MADE_BY)
    if recipe.followed():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    pictures = _wallpapers() | _panoramas() | _places()
    for name in SURFACES:
        surface = Image.open(SOURCES / "skimage" / "skimage" / "data" / f"{name}.png").convert("RGB")
        pictures[name] = np.asarray(surface)
    rng = np.random.default_rng(11)
    for index in range(PROCEDURAL):
        kind = "held-out procedural" if index < HELD_OUT_PROCEDURAL else "procedural"
        pictures[f"{kind} {index}"] = texture(rng, 512, 512)
    np.savez(CACHE / "backgrounds.npz", **pictures)
    print(f"{len(pictures)} backgrounds, {len(pictures) - PROCEDURAL} of them photographs", flush=True)
    recipe.note()
