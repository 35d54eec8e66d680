"""Lays procedural surfaces over rendered objects, whose files have no texture coordinates."""

from __future__ import annotations

import numpy as np

from demo_model.textures import texture

TEXTURE_SIDE = 256
# The power of the normal's parts: seams between the three directions are soft, but narrow.
SHARPNESS = 4
# A surface's middle grey leaves the light as it was rendered.
MIDDLE = 150.0


def points(depth: np.ndarray, view: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Return where in the world each pixel's surface lies, (H, W, 3) float64.

    Args:
        depth: (H, W), a depth buffer as OpenGL's: 0 at the near plane, 1 at the far one.
        view: (4, 4), from the world to the camera.
        projection: (4, 4), from the camera to clip space.
    """
    height, width = depth.shape
    across = (np.arange(width) + 0.5) / width * 2 - 1
    down = 1 - (np.arange(height) + 0.5) / height * 2
    x, y = np.meshgrid(across, down)
    seen = np.stack((x, y, 2 * depth - 1, np.ones_like(x)), axis=-1) @ np.linalg.inv(projection @ view).T
    return seen[..., :3] / seen[..., 3:]


def _normals(places: np.ndarray) -> np.ndarray:
    normal = np.cross(np.gradient(places, axis=1), np.gradient(places, axis=0))
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True).clip(1e-12)


def _looked_up(picture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the picture's colours at (u, v), where 1 is its whole side; it goes on beyond its edges mirrored."""
    side = picture.shape[0]
    column, row = ((np.abs((t + 1) % 2 - 1) * (side - 1)).round().astype(int) for t in (u, v))
    return picture[row, column].astype(np.float32)


def textured(colour: np.ndarray, places: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """Return the rendered colours (H, W, 3) with a surface laid over them from the three directions of the axes.

    Each surface is drawn anew, so that none is both on a trained and on a held-out object.

    Args:
        colour: (H, W, 3) float32 in 0 to 255, rendered in one plain colour.
        places: (H, W, 3), where each pixel lies in the object's own axes, relative to its middle.
        reach: the object's radius, in the unit of `places`.
        rng: draws the surface, its size and its contrast.
    """
    surface = texture(rng, TEXTURE_SIDE, TEXTURE_SIDE)
    shares = np.abs(_normals(places)) ** SHARPNESS
    shares /= shares.sum(axis=-1, keepdims=True).clip(1e-12)
    spread = places / reach * rng.uniform(0.2, 1.2) + rng.uniform(0, 2, 3)
    laid = sum(
        shares[..., axis : axis + 1] * _looked_up(surface, spread[..., axis - 2], spread[..., axis - 1])
        for axis in range(3)
    )
    return colour * (1 + rng.uniform(0.6, 1) * (laid / MIDDLE - 1)).astype(np.float32)
