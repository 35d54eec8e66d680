"""Collects cut-out subjects with alpha: emoji, and rendered objects with procedural surfaces."""

from __future__ import annotations

import json
import math

import numpy as np
import pybullet
from PIL import Image

from demo_model.families import emoji_family, held_out, published
from demo_model.paths import CACHE, SOURCES
from demo_model.recipe import Recipe
from demo_model.surfaces import points, textured

SIDE = 256
OBJECT_VIEWS = 3
ANGLE, ROUGH_SIDE, MARGIN = 45.0, 64, 1.1
TEXTURED = 0.85  # of the views of objects; the others are of one plain colour
MADE_BY = ("families", "subjects", "surfaces", "textures")


def _emoji() -> list[tuple[str, np.ndarray]]:
    subjects = []
    for path in sorted((SOURCES / "emoji" / "package" / "assets").glob("*.webp")):
        picture = np.asarray(Image.open(path).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        if published(path.stem) and (picture[..., 3] > 127).mean() > 0.03:
            subjects.append((emoji_family(path.stem), picture))
    return subjects


def _render(body: int, pose: list[float], rng: np.random.Generator) -> np.ndarray | None:
    corners = [pybullet.getAABB(body, link) for link in range(-1, pybullet.getNumJoints(body))]
    low = np.min([corner[0] for corner in corners], axis=0)
    high = np.max([corner[1] for corner in corners], axis=0)
    centre, reach = (low + high) / 2, np.linalg.norm(high - low) / 2
    direction = rng.normal(size=3) * (1, 1, 0.6) + (0, 0, 0.3)
    eye = centre + direction / np.linalg.norm(direction) * reach * 2.4
    view = pybullet.computeViewMatrix(eye.tolist(), centre.tolist(), [0, 0, 1])

    def seen(side: int, angle: float, **lights: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        projection = pybullet.computeProjectionMatrixFOV(angle, 1, reach * 0.1, reach * 10)
        _, _, colour, depth, mask = pybullet.getCameraImage(
            side, side, view, projection, shadow=0, renderer=pybullet.ER_TINY_RENDERER, **lights
        )
        colour = np.reshape(colour, (side, side, 4))[..., :3].astype(np.float32)
        # The renderer gives matrices by columns.
        place = points(np.reshape(depth, (side, side)), *(np.reshape(m, (4, 4)).T for m in (view, projection)))
        return colour, place, np.reshape(mask, (side, side)) >= 0

    # A box around all that the object might turn into is far larger than what is seen of it.
    inside = seen(ROUGH_SIDE, ANGLE)[2]
    if not inside.any():
        return None
    extent = np.abs(np.argwhere(inside) + 0.5 - ROUGH_SIDE / 2).max() / (ROUGH_SIDE / 2)
    angle = 2 * math.degrees(math.atan(MARGIN * extent * math.tan(math.radians(ANGLE / 2))))
    # The renderer draws hard edges: twice the size, averaged, gives an alpha.
    colour, places, inside = seen(
        2 * SIDE,
        angle,
        lightDirection=np.add(rng.normal(size=3), (0, 0, 1)).tolist(),
        lightAmbientCoeff=float(rng.uniform(0.3, 0.7)),
        lightDiffuseCoeff=float(rng.uniform(0.3, 0.7)),
        lightSpecularCoeff=float(rng.uniform(0, 0.5)),
    )
    if rng.random() < TEXTURED:
        turned = np.reshape(pybullet.getMatrixFromQuaternion(pose), (3, 3))
        colour = textured(colour, (places - centre) @ turned, float(reach * extent), rng).clip(0, 255)

    def halved(values: np.ndarray) -> np.ndarray:
        return values.reshape(SIDE, 2, SIDE, 2, -1).mean(axis=(1, 3))

    alpha = halved(inside.astype(np.float32))
    if alpha.mean() < 0.03:
        return None
    colour = halved(colour * inside[..., None]) / np.maximum(alpha, 0.25)
    return np.concatenate((colour.clip(0, 255), alpha * 255), axis=-1).round().astype(np.uint8)


def _objects() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    pybullet.connect(pybullet.DIRECT)
    root = SOURCES / "pybullet" / "pybullet_data"
    # Only the generated shapes: where the package's models of known things come from, it doesn't say.
    names = [f"random_urdfs/{index:03d}/{index:03d}.urdf" for index in range(0, 1000, 2)]
    subjects = []
    for number, name in enumerate(names):
        if number % 50 == 0:
            print(f"rendering objects: {number} of {len(names)}", flush=True)
        body = pybullet.loadURDF(str(root / name))
        for _ in range(OBJECT_VIEWS):
            tint = [*rng.uniform(0.3, 1, 3).tolist(), 1]
            pybullet.changeVisualShape(body, -1, rgbaColor=tint)
            pose = rng.normal(size=4)
            pose = (pose / np.linalg.norm(pose)).tolist()
            pybullet.resetBasePositionAndOrientation(body, [0, 0, 0], pose)
            picture = _render(body, pose, rng)
            if picture is not None:
                subjects.append((f"object {name}", picture))
        pybullet.removeBody(body)
    pybullet.disconnect()
    return subjects


def prepare() -> None:
    """Write the subjects' pictures (N, 256, 256, 4) uint8 and their families to the cache."""
    recipe = Recipe("subjects", MADE_BY)
    if recipe.followed():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    subjects = _emoji() + _objects()
    np.save(CACHE / "subjects.npy", np.stack([picture for _, picture in subjects]))
    names = [family for family, _ in subjects]
    (CACHE / "subjects.json").write_text(json.dumps(names))
    test = sum(held_out(name) for name in names)
    print(f"{len(names)} subjects of {len(set(names))} families, {test} subjects held out", flush=True)
    recipe.note()
