"""Scores the shipped weights on held-out composites and draws what the model card shows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from demo_model.paths import PICTURES, SOURCES, WEIGHTS
from demo_model.scoring import SIDE, Scores, held_out_frames, matte
from demo_model.weights import load

SEED = 2024
TILE = 192
SHOWN_OF = 80  # frames: the best and the worst of many thousands show nothing of what is common
PROGRESS_FRAMES = 100
# From scikit-image: NASA's and SpaceX's are in the public domain, the others CC0. The model was trained on no photo of
# a subject.
PHOTOGRAPHS = {"astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}


def row(picture: np.ndarray, mask: np.ndarray, alpha: np.ndarray | None, said: str) -> Image.Image:
    """Return input, true matte where there is one, matte and cut-out beside each other."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] // (picture.shape[0] // 16)
    board = np.where((x + y) % 2, 200, 140)[..., None].astype(np.float32)
    cut = picture * mask[..., None] + board * (1 - mask[..., None])
    parts = [picture, *([] if alpha is None else [alpha * 255]), mask * 255, cut]
    strip = Image.new("RGB", (TILE * len(parts), TILE + 16), "white")
    for place, part in enumerate(parts):
        tile = Image.fromarray(part.clip(0, 255).astype(np.uint8)).convert("RGB").resize((TILE, TILE))
        strip.paste(tile, (TILE * place, 16))
    ImageDraw.Draw(strip).text((4, 2), said, fill="black")
    return strip


def sheet(rows: list[Image.Image], path: Path) -> None:
    """Write rows in two columns."""
    height = (len(rows) + 1) // 2
    page = Image.new("RGB", (rows[0].width * 2 + 16, rows[0].height * height), "white")
    for index, strip in enumerate(rows):
        page.paste(strip, (index // height * (strip.width + 16), index % height * strip.height))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, quality=85)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="held-out composites with a subject")
    parser.add_argument("--seed", type=int, default=SEED, help="of the composites: another one draws others")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--pictures", action="store_true", help="draw the model card's pictures again")
    options = parser.parse_args()
    network = load(options.weights)
    network.prepare()
    print(
        f"weights {options.weights.name}, {options.weights.stat().st_size / 1e6:.2f} MB, at {SIDE}x{SIDE}", flush=True
    )
    rows: list[Image.Image] = []
    for said, procedural in (("photographs", False), ("photographs and patterns", True)):
        scores = Scores()
        drawn = held_out_frames(options.frames, options.seed, procedural=procedural)
        for number, (picture, alpha) in enumerate(drawn):
            if number and number % PROGRESS_FRAMES == 0:
                print(f"{number} frames with {said} behind", file=sys.stderr, flush=True)
            mask = matte(network, picture)
            scores.add(mask, alpha)
            if options.pictures and procedural and len(rows) < SHOWN_OF and alpha.any():
                rows.append(row(picture, mask, alpha, f"held out, IoU {scores.overlaps[-1]:.2f}"))
        print(f"{said} behind: {scores}", flush=True)
    if not options.pictures:
        return
    order = np.argsort(scores.overlaps[: len(rows)])
    step, worst = max(1, len(order) // 8), max(1, len(order) // 32)
    rows = [rows[i] for i in (*order[-1 : -4 * step : -step][:4], *order[: 4 * worst : worst])]
    sheet(rows, PICTURES / "held_out.jpg")
    rows = []
    for name, file in PHOTOGRAPHS.items():
        photo = Image.open(SOURCES / "skimage" / "skimage" / "data" / file).convert("RGB").resize((SIDE, SIDE))
        picture = np.asarray(photo)
        rows.append(row(picture, matte(network, picture), None, f"photograph: {name}"))
    sheet(rows, PICTURES / "photographs.jpg")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
