"""Random composites of subjects over backgrounds, with their true alpha."""

from __future__ import annotations

import io
import json

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from demo_model.backgrounds_split import is_held_out
from demo_model.families import held_out
from demo_model.lookalikes import lookalikes
from demo_model.paths import CACHE
from demo_model.textures import noise

# One family holds hundreds of near copies (flags, signs): chosen less often than its size would say.
PLAIN = {"flag": 3.0, "sign": 4.0, "heart": 1.5, "clock": 1.0, "moon": 2.0}
COUNTS = (0.12, 0.56, 0.2, 0.12)


def _reduced(photo: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).reduce(max(1, photo.shape[1] // 512)))


def _varied(view: Image.Image, rng: Generator) -> Image.Image:
    if rng.random() < 0.6:
        return view.transpose(Image.Transpose(rng.integers(1, 5)))
    return Image.fromarray(np.asarray(view)[..., rng.permutation(3)])


class Library:
    """The subjects and backgrounds of one side of the split, shared between processes through the page cache.

    Args:
        side: `train` or `test`.
        procedural: have procedural pictures among the backgrounds, not photographs alone.

    Attributes:
        patterns: the share of backgrounds that are procedural, in [0, 1].
        varied: the share of backgrounds that are turned, or whose colours are exchanged, in [0, 1].
    """

    def __init__(self, side: str, procedural: bool = True) -> None:
        wanted = side == "test"
        names = json.loads((CACHE / "subjects.json").read_text())
        self.pictures = np.load(CACHE / "subjects.npy", mmap_mode="r")
        members: dict[str, list[int]] = {}
        left_out = lookalikes()
        for index, name in enumerate(names):
            if held_out(name) == wanted and name not in left_out:
                members.setdefault(name, []).append(index)
        self.members = list(members.values())
        weights = np.array(
            [
                PLAIN.get(name, (0.8 if name.startswith("object") else 1.0) * min(len(indices), 30) ** 0.5)
                for name, indices in members.items()
            ]
        )
        self.weights = weights / weights.sum()
        loaded = np.load(CACHE / "backgrounds.npz")
        chosen = [name for name in loaded.files if is_held_out(name) == wanted]
        self.photos = [loaded[name] for name in chosen if "procedural" not in name]
        # Small composites are cut from small photos: reading 1600 pixels for 128 costs more than the training.
        self.small = [photo if photo.shape[1] <= 640 else _reduced(photo) for photo in self.photos]
        self.procedural = [loaded[name] for name in chosen if "procedural" in name and procedural]
        self.patterns = 0.28
        self.varied = 0.0

    def subject(self, rng: Generator) -> Image.Image:
        family = self.members[rng.choice(len(self.members), p=self.weights)]
        return Image.fromarray(np.array(self.pictures[rng.choice(family)]))

    def surface(self, rng: Generator, side: int) -> np.ndarray:
        """Return a random part of a procedural picture, (side, side, 3) float32 in 0 to 255."""
        picture = self.procedural[rng.integers(len(self.procedural))]
        extent = int(rng.integers(64, 512))
        upper, left = rng.integers(0, 512 - extent, 2).tolist()
        part = Image.fromarray(picture).resize((side, side), 2, box=(left, upper, left + extent, upper + extent))
        return np.asarray(part).astype(np.float32)[..., rng.permutation(3)]

    def background(self, rng: Generator, size: int, squeeze: float) -> np.ndarray:
        """Return a random part of a background, (size, size, 3) float32 in 0 to 255, `squeeze` times narrower."""
        if rng.random() < 1 - self.patterns or not self.procedural:
            picture = (self.small if size <= 160 else self.photos)[rng.integers(len(self.photos))]
        else:
            picture = self.procedural[rng.integers(len(self.procedural))]
        height, width = picture.shape[:2]
        part = rng.uniform(0.3, 1) ** 1.2
        crop_height = min(height, width * squeeze) * part
        crop_width = min(width, crop_height / squeeze)
        left, upper = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
        box = (left, upper, left + crop_width, upper + crop_height)
        view = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2)
        if rng.random() < 0.5:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        # Nothing is drawn where nothing is varied: the held-out frames stay what they are.
        if self.varied and rng.random() < self.varied:
            view = _varied(view, rng)
        if rng.random() < 0.35:
            view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.002, 0.02) * size))
        shown = np.asarray(view).astype(np.float32)
        return (shown * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20)) * rng.uniform(0.88, 1.12, 3).astype(np.float32)


def _mixed_background(library: Library, rng: Generator, size: int, squeeze: float) -> np.ndarray:
    background = library.background(rng, size, squeeze)
    if rng.random() < 0.2:
        other = library.background(rng, size, squeeze)
        if rng.random() < 0.5:
            share = noise(rng, size, size, int(rng.integers(1, 4)), 2)
        else:
            # A wall and a floor, or two sides of a street.
            y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
            slope = rng.normal(0, 0.15)
            across = y + slope * x if rng.random() < 0.6 else x + slope * y
            share = 1 / (1 + np.exp(-(across - rng.uniform(0.3, 0.8)) * rng.choice([20.0, 300.0])))
        background = background + (other - background) * share[..., None].astype(np.float32)
    return background


def _restyled(subject: Image.Image, library: Library, rng: Generator) -> Image.Image:
    """Return the subject with other colours or another surface: shapes must not be known by their palette."""
    pixels = np.asarray(subject).astype(np.float32)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    side = pixels.shape[0]
    choice = rng.random()
    if choice < 0.08:
        luminance = colour.mean(axis=-1, keepdims=True) / 160
        surface = library.background(rng, side, 1.0) if rng.random() < 0.5 else library.surface(rng, side)
        colour = surface * (1 + rng.uniform(0.2, 0.9) * (luminance - 1))
    elif choice < 0.4:
        surface = library.surface(rng, side)
        colour = colour * (1 + rng.uniform(0.3, 0.9) * (surface / 150 - 1))
    if rng.random() < 0.25:
        colour = colour[..., rng.permutation(3)]
    if rng.random() < 0.4:
        grey = colour.mean(axis=-1, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.4, 1.2)
        colour = (colour - 128) * rng.uniform(0.7, 1.15) + 128 + rng.uniform(-35, 30)
    return Image.fromarray(np.concatenate((colour.clip(0, 255), alpha), axis=-1).astype(np.uint8))


def _layer(library: Library, rng: Generator, size: int, squeeze: float, largest: float, restyle: bool) -> np.ndarray:
    """Return a placed subject, (size, size, 4) float32, colour premultiplied by alpha; alpha in [0, 1]."""
    subject = library.subject(rng)
    if size < subject.width:
        subject = subject.resize((size, size), Image.Resampling.BILINEAR)
    if restyle:
        subject = _restyled(subject, library, rng)
    extent = subject.getchannel("A").point(lambda value: 255 * (value > 20)).getbbox()
    if extent is not None:
        subject = subject.crop(extent)
    if rng.random() < 0.5:
        subject = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    height = rng.uniform(0.22, largest) * size
    scale = height / max(subject.size)
    shape = (max(4, round(subject.width * scale)), max(4, round(subject.height * scale)))
    subject = subject.resize(shape, Image.Resampling.BICUBIC)
    angle = rng.normal(0, 12) if rng.random() < 0.8 else rng.uniform(-180, 180)
    subject = subject.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    # A wide frame that was squeezed to a square shows its subjects narrower.
    subject = subject.resize((max(4, round(subject.width * squeeze)), subject.height), Image.Resampling.BILINEAR)
    canvas = Image.new("RGBA", (size, size))
    centre = rng.uniform(0.15, 0.85, 2) if rng.random() < 0.8 else rng.uniform(-0.05, 1.05, 2)
    corner = [round(c * size - side / 2) for c, side in zip(centre, subject.size, strict=True)]
    canvas.paste(subject, corner)
    layer = np.asarray(canvas.convert("RGBa")).astype(np.float32)
    layer[..., 3] /= 255
    if rng.random() < 0.15:
        layer = _motion_blurred(layer, rng, size)
    if rng.random() < 0.3:
        radius = rng.uniform(0.3, 1.5) * size / 256
        layer = _blurred(layer, radius)
    return layer


def _blurred(layer: np.ndarray, radius: float) -> np.ndarray:
    scaled = layer * np.array((1, 1, 1, 255), np.float32)
    picture = Image.fromarray(scaled.clip(0, 255).astype(np.uint8), "RGBA")
    # Channels are premultiplied already: they blur apart.
    channels = [np.asarray(band.filter(ImageFilter.GaussianBlur(radius))) for band in picture.split()]
    return np.stack(channels, axis=-1).astype(np.float32) / np.array((1, 1, 1, 255), np.float32)


def _shifted(layer: np.ndarray, down: int, right: int) -> np.ndarray:
    moved = np.zeros_like(layer)
    height, width = layer.shape[:2]
    into = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    out_of = (slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0)))
    moved[into] = layer[out_of]
    return moved


def _motion_blurred(layer: np.ndarray, rng: Generator, size: int) -> np.ndarray:
    step = rng.normal(size=2)
    step *= rng.uniform(0.01, 0.06) * size / np.linalg.norm(step)
    total = np.zeros_like(layer)
    for part in np.linspace(-0.5, 0.5, 7):
        total += _shifted(layer, *np.round(step * part).astype(int).tolist())
    return total / 7


def _filmed(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the picture as a camera and a codec would give it, uint8."""
    picture = picture * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    picture = (picture - 128) * rng.uniform(0.75, 1.2) + 128 + rng.uniform(-20, 20)
    if rng.random() < 0.5:
        picture = picture + rng.normal(size=picture.shape).astype(np.float32) * rng.uniform(1, 12)
    shown = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        shown = shown.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2) * shown.width / 256))
    if rng.random() < 0.4:
        packed = io.BytesIO()
        shown.save(packed, "JPEG", quality=int(rng.integers(35, 92)))
        shown = Image.open(packed).convert("RGB")
    return np.asarray(shown)


def composite(
    library: Library, rng: Generator, size: int, count: int | None = None, restyle: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return a composite (size, size, 3) uint8 and its alpha (size, size) float32.

    Args:
        count: how many subjects; drawn at random, sometimes none, if not given.
        restyle: give subjects other colours and surfaces than their own, as training does.
    """
    squeeze = float(np.exp(rng.uniform(np.log(0.5), np.log(1.1))))
    picture = _mixed_background(library, rng, size, squeeze)
    seen = np.zeros((size, size), np.float32)
    if count is None:
        count = int(rng.choice(4, p=COUNTS))
    for _ in range(count):
        layer = _layer(library, rng, size, squeeze, 0.98 if count == 1 else 0.7, restyle)
        alpha = layer[..., 3]
        if rng.random() < 0.35:
            shade = _shifted(alpha, *(rng.uniform(-0.06, 0.1, 2) * size).astype(int).tolist())
            soft = Image.fromarray((shade * 255).clip(0, 255).astype(np.uint8))
            soft = soft.filter(ImageFilter.GaussianBlur(rng.uniform(0.01, 0.05) * size))
            picture = picture * (1 - rng.uniform(0.15, 0.55) * np.asarray(soft)[..., None] / np.float32(255))
        colour = layer[..., :3]
        if rng.random() < 0.4:
            tint = picture.mean(axis=(0, 1)) / max(float(picture.mean()), 1.0)
            colour = colour * (1 + rng.uniform(0.2, 0.8) * (tint - 1))
        picture = picture * (1 - alpha[..., None]) + colour
        seen = seen + alpha * (1 - seen)
    return _filmed(picture, rng), seen.clip(0, 1)
