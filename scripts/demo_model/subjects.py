"""Collects cut-out subjects with alpha: emoji, and rendered objects with procedural surfaces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pybullet
from PIL import Image

from demo_model.families import emoji_family, held_out
from demo_model.paths import CACHE, SOURCES
from demo_model.textures import texture

SIDE = 256
OBJECT_VIEWS = 3


def _emoji() -> list[tuple[str, np.ndarray]]:
    subjects = []
    for path in sorted((SOURCES / "emoji" / "package" / "assets").glob("*.webp")):
        picture = np.asarray(Image.open(path).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        if (picture[..., 3] > 127).mean() > 0.03:
            subjects.append((emoji_family(path.stem), picture))
    return subjects


def _render(body: int, rng: np.random.Generator) -> np.ndarray | None:
    corners = [pybullet.getAABB(body, link) for link in range(-1, pybullet.getNumJoints(body))]
    low = np.min([corner[0] for corner in corners], axis=0)
    high = np.max([corner[1] for corner in corners], axis=0)
    centre, reach = (low + high) / 2, np.linalg.norm(high - low) / 2
    direction = rng.normal(size=3) * (1, 1, 0.6) + (0, 0, 0.3)
    eye = centre + direction / np.linalg.norm(direction) * reach * 2.4
    view = pybullet.computeViewMatrix(eye.tolist(), centre.tolist(), [0, 0, 1])
    projection = pybullet.computeProjectionMatrixFOV(45, 1, reach * 0.1, reach * 10)
    # The renderer draws hard edges: twice the size, averaged, gives an alpha.
    light = np.add(rng.normal(size=3), (0, 0, 1)).tolist()
    _, _, colour, _, mask = pybullet.getCameraImage(
        2 * SIDE,
        2 * SIDE,
        view,
        projection,
        lightDirection=light,
        shadow=0,
        lightAmbientCoeff=float(rng.uniform(0.3, 0.7)),
        lightDiffuseCoeff=float(rng.uniform(0.3, 0.7)),
        lightSpecularCoeff=float(rng.uniform(0, 0.5)),
        renderer=pybullet.ER_TINY_RENDERER,
    )
    inside = (np.reshape(mask, (2 * SIDE, 2 * SIDE)) >= 0).astype(np.float32)
    colour = np.reshape(colour, (2 * SIDE, 2 * SIDE, 4))[..., :3].astype(np.float32)

    def halved(values: np.ndarray) -> np.ndarray:
        return values.reshape(SIDE, 2, SIDE, 2, -1).mean(axis=(1, 3))

    alpha = halved(inside)
    if alpha.mean() < 0.03:
        return None
    colour = halved(colour * inside[..., None]) / np.maximum(alpha, 0.25)
    return np.concatenate((colour.clip(0, 255), alpha * 255), axis=-1).round().astype(np.uint8)


def _objects(scratch: Path) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    pybullet.connect(pybullet.DIRECT)
    textures = []
    for index in range(64):
        path = scratch / f"surface{index}.png"
        Image.fromarray(texture(rng, 256, 256)).save(path)
        textures.append(pybullet.loadTexture(str(path)))
    root = SOURCES / "pybullet" / "pybullet_data"
    # Only the generated shapes: where the package's models of known things come from, it doesn't say.
    names = [f"random_urdfs/{index:03d}/{index:03d}.urdf" for index in range(0, 1000, 2)]
    subjects = []
    for name in names:
        body = pybullet.loadURDF(str(root / name))
        for _ in range(OBJECT_VIEWS):
            tint = [*rng.uniform(0.3, 1, 3).tolist(), 1]
            surface = int(rng.choice(textures)) if rng.random() < 0.7 else -1
            pybullet.changeVisualShape(body, -1, textureUniqueId=surface, rgbaColor=tint)
            pose = rng.normal(size=4)
            pybullet.resetBasePositionAndOrientation(body, [0, 0, 0], (pose / np.linalg.norm(pose)).tolist())
            picture = _render(body, rng)
            if picture is not None:
                subjects.append((f"object {name}", picture))
        pybullet.removeBody(body)
    pybullet.disconnect()
    return subjects


def prepare() -> None:
    """Write the subjects' pictures (N, 256, 256, 4) uint8 and their families to the cache."""
    if (CACHE / "subjects.json").exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    subjects = _emoji() + _objects(CACHE)
    np.save(CACHE / "subjects.npy", np.stack([picture for _, picture in subjects]))
    names = [family for family, _ in subjects]
    (CACHE / "subjects.json").write_text(json.dumps(names))
    test = sum(held_out(name) for name in names)
    print(f"{len(names)} subjects of {len(set(names))} families, {test} subjects held out", flush=True)
