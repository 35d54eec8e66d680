"""How much of the background's colour is left at soft edges: raw frames against `refine_foreground`.

    . scripts/demo_model/material.sh       # once: fetches the subjects into data/demo_model
    .venv/bin/python scripts/measure_edges.py [--picture docs/pictures/edges.jpg]

Frames are composites of known colours F with a known matte a over black, white and green, at 256x256 and 8 bits. The
error is the mean of |colour - F| in code values where the matte is between 0.02 and 0.98, weighted by it, as whatever
is put behind the subject later lets the colours through. Subjects are rendered (with the matte and the colours of their
own) and photographs, which have no matte of their own: they get those of the rendered ones, as they are (some pixels
wide) and out of focus (a Gaussian of 2 pixels).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from demo_model.paths import SOURCES
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from birefnet_batch.matting.foreground import estimate_foreground

SIZE = (256, 256)
BACKGROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255), "green": (0, 255, 0)}
# A lion, a cat, a dog, a woman, a pine, a rose, a sheaf of rice, a ghost: hair, fur, leaves and plain outlines.
EMOJI = ("1f981", "1f431", "1f436", "1f469", "1f332", "1f339", "1f33e", "1f47b")
# scikit-image's: NASA's is in the public domain, the others are CC0.
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
SOFT_SIZES, SOFTNESS = ((720, 1280), (2160, 3840)), (2, 6, 12, 24, 48)
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """Colours (H, W, 3) and matte (H, W), float32 in [0, 1]."""

    kind: str
    colours: Pixels
    matte: Pixels


def subjects(sources: Path) -> Iterator[Subject]:
    rendered = [_read(sources / "emoji" / "package" / "assets" / f"{name}.webp", "RGBA") for name in EMOJI]
    for image in rendered:
        yield Subject("rendered", image[..., :3], image[..., 3])
    for index, name in enumerate(PHOTOGRAPHS):
        photograph = _read(sources / "skimage" / "skimage" / "data" / name, "RGB")
        for matte in (rendered[2 * index][..., 3], rendered[2 * index + 1][..., 3]):
            yield Subject("photograph", photograph, matte)
            yield Subject("photograph, out of focus", photograph, _blurred(matte))


def over(subject: Subject, background: tuple[int, int, int]) -> Pixels:
    """The frame (H, W, 3) in [0, 1], rounded to 8 bits."""
    matte = subject.matte[..., None]
    mixed = matte * subject.colours + (1 - matte) * np.array(background, np.float32) / 255
    return (np.rint(mixed * 255) / 255).astype(np.float32)


def refined(frame: Pixels, matte: Pixels) -> Pixels:
    image = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None]
    return estimate_foreground(image, torch.from_numpy(matte)[None, None])[0].permute(1, 2, 0).numpy()


def error(colours: Pixels, subject: Subject) -> float:
    """In code values, where the matte is soft, weighted by it."""
    weight = subject.matte * ((subject.matte > 0.02) & (subject.matte < 0.98))
    return float((np.abs(colours - subject.colours).mean(axis=2) * weight).sum() / weight.sum() * 255)


def soften(sources: Path) -> None:
    """Print refined against raw errors by the softness of the edge, over the three backgrounds together."""
    print("\n| frame | " + " | ".join(f"Gaussian of {sigma} px" for sigma in SOFTNESS) + " |")
    print("|---" * (1 + len(SOFTNESS)) + "|")
    for height, width in SOFT_SIZES:
        ratios = []
        for sigma in SOFTNESS:
            y, x = np.mgrid[:height, :width].astype(np.float32)
            inside = height / 3 - np.hypot(y - height / 2, x - width / 2)
            # What a Gaussian makes of a straight edge; the disc is large against it.
            matte = torch.special.ndtr(torch.from_numpy(inside / sigma)).numpy()
            raw = fine = 0.0
            for name in PHOTOGRAPHS:
                colours = _read(sources / "skimage" / "skimage" / "data" / name, "RGB", (width, height))
                subject = Subject("photograph", colours, matte)
                for background in BACKGROUNDS.values():
                    frame = over(subject, background)
                    raw += error(frame, subject)
                    fine += error(refined(frame, matte), subject)
            ratios.append(fine / raw)
        print(f"| {width}x{height} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)


def draw(path: Path, chosen: list[Subject]) -> None:
    """A row per subject: the frame over green, its raw and its refined colours over magenta, enlarged at an edge."""
    rows = []
    for subject in chosen:
        frame = over(subject, BACKGROUNDS["green"])
        matte = subject.matte[..., None]
        behind = np.array((0.75, 0.3, 0.75), np.float32)
        cut = [matte * colours + (1 - matte) * behind for colours in (frame, refined(frame, subject.matte))]
        column = int(np.argmax((subject.matte[:, 96:160] > 0.5).any(axis=0))) + 96
        row = int(np.argmax(subject.matte[:, column] > 0.5))
        top, left = max(0, row - 24), min(max(0, column - 24), SIZE[0] - 48)
        pieces = [Image.fromarray(np.rint(image * 255).astype(np.uint8)) for image in (frame, *cut)]
        box = (left, top, left + 48, top + 48)
        rows.append([pieces[0], *(piece.crop(box).resize(SIZE, Image.Resampling.NEAREST) for piece in pieces[1:])])
    sheet = Image.new("RGB", (SIZE[0] * 3, SIZE[1] * len(rows)))
    for y, line in enumerate(rows):
        for x, piece in enumerate(line):
            sheet.paste(piece, (x * SIZE[0], y * SIZE[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, default=SOURCES, help="where the demo model's material is unpacked")
    parser.add_argument("--picture", type=Path, help="also draw this JPEG")
    settings = parser.parse_args()
    if not settings.sources.is_dir():
        parser.error(f"{settings.sources} is not there; fetch it with: . scripts/demo_model/material.sh")
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    every = list(subjects(settings.sources))
    for subject in every:
        for name, colour in BACKGROUNDS.items():
            frame = over(subject, colour)
            errors = error(frame, subject), error(refined(frame, subject.matte), subject)
            found.setdefault((subject.kind, name), []).append(errors)
    print("| subject | over | raw | refined | refined/raw | worst subject |\n|---|---|---|---|---|---|")
    for (kind, name), values in found.items():
        raw, fine = np.array(values).T
        print(
            f"| {kind} ({len(raw)}) | {name} | {raw.mean():.1f} | {fine.mean():.1f} | {fine.sum() / raw.sum():.2f} "
            f"| {(fine / raw).max():.2f} |"
        )
    soften(settings.sources)
    if settings.picture:
        out_of_focus = [subject for subject in every if subject.kind.endswith("focus")]
        draw(settings.picture, [every[0], out_of_focus[2]])


def _read(path: Path, mode: str, size: tuple[int, int] = SIZE) -> Pixels:
    smaller = size == SIZE
    image = Image.open(path).convert(mode).resize(size, Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)
    return (np.asarray(image) / np.float32(255)).astype(np.float32)


def _blurred(matte: Pixels) -> Pixels:
    image = Image.fromarray(np.rint(matte * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    return (np.asarray(image) / np.float32(255)).astype(np.float32)


if __name__ == "__main__":
    main()
