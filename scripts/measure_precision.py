"""What bf16 and fp16 change in the mattes of real pictures, against float32, on a CPU.

    .venv/bin/python scripts/measure_precision.py [MODEL:WIDTHxHEIGHT:PICTURES ...]
        [--precisions bf16,fp16] [--weights heavy=FILE] [--threads 2]

Without words it prints the table of docs/models.md. The pictures are frames of the demo clips. The demo model has its
trained weights; others have those of --weights, or the deterministic ones of tests/reference. Errors are differences of
mattes at the operating resolution, in steps of 1/255. A black, a white and a noise frame run too: their mattes must be
finite. Where engines do not measure the checkpoint at hand they warn by birefnet_batch/models/precision.py's figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import torch
from bench_model import size_of, write_weights

from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.engines import open_engine
from birefnet_batch.engines.precision_check import precision_error
from birefnet_batch.matting import frames_to_input
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, locate_weights

# The table of docs/models.md.
ROWS = ("demo:512x512:6", "heavy:256x256:2", "heavy:512x512:3", "light:256x256:2")


def pictures(count: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Frames spread over the demo clips, each (1, H, W, 3) uint8."""
    clips = sorted(demo_clips().glob("*.mp4"))
    for index in range(count):
        clip, turn = clips[index % len(clips)], index // len(clips)
        with av.open(str(clip)) as container:
            wanted = 20 + 25 * turn
            for number, frame in enumerate(container.decode(video=0)):
                if number == wanted:
                    yield f"{clip.stem} {number}", torch.from_numpy(frame.to_ndarray(format="rgb24"))[None]
                    break


def extremes() -> Iterator[tuple[str, torch.Tensor]]:
    """Frames that no camera takes."""
    yield "black", torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    yield "white", torch.full((1, 64, 96, 3), 255, dtype=torch.uint8)
    draw = torch.Generator().manual_seed(0)
    yield "noise", torch.randint(0, 256, (1, 720, 1280, 3), dtype=torch.uint8, generator=draw)


def mattes(
    model_name: str,
    weights: WeightsFile,
    precision: str,
    size: tuple[int, int],
    inputs: list[torch.Tensor],
    threads: int,
) -> torch.Tensor:
    """(pictures, height, width) float32."""
    width, height = size
    settings = {"width": width, "height": height, "device": "cpu", "threads": threads, "precision": precision}
    with open_engine("torch", model=find_model(model_name), weights=weights, **settings) as engine:
        return torch.cat([engine.infer(image).sigmoid()[:, 0] for image in inputs])


def weights_of(model_name: str, given: dict[str, str], folder: Path) -> tuple[str, WeightsFile]:
    """What the weights are, in a word, and their file."""
    model = find_model(model_name)
    if model_name in given or model.network == "demo":
        return given.get(model_name, "trained"), locate_weights(model, given.get(model_name))
    path = folder / f"{model.network}.safetensors"
    write_weights(model.network, path)
    return "deterministic", WeightsFile(path, "0" * 64, str(path))


def main() -> None:
    """Print a line of the table per model, size and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="MODEL:WIDTHxHEIGHT:PICTURES", help="short names")
    parser.add_argument("--precisions", default="bf16,fp16")
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    given = dict(entry.split("=", 1) for entry in options.weights)
    print(
        "| model | weights | pictures | precision | mean | 99.9th percentile | largest |\n|---|---|---|---|---|---|---|"
    )
    broken: list[str] = []
    for row in options.rows:
        name, resolution, count = row.split(":")
        size = size_of(resolution)
        named = [*pictures(int(count)), *extremes()]
        inputs = [frames_to_input(frame, *size) for _, frame in named]
        with tempfile.TemporaryDirectory() as folder:
            origin, weights = weights_of(name, given, Path(folder))
            wanted = mattes(name, weights, "fp32", size, inputs, options.threads)
            for precision in ("fp32", *options.precisions.split(",")):
                found = wanted
                if precision != "fp32":
                    found = mattes(name, weights, precision, size, inputs, options.threads)
                    error = precision_error(found[: int(count)], wanted[: int(count)])
                    largest = 255 * (found - wanted)[: int(count)].abs().max()
                    print(
                        f"| {name} ({find_model(name).network}) | {origin} | {count} at {resolution} | {precision} "
                        f"| {255 * error.mean:.3f} | {255 * error.high:.2f} | {largest:.1f} |",
                        flush=True,
                    )
                broken += [
                    f"{row} {precision}: the matte of {label} is not finite"
                    for (label, _), matte in zip(named, found, strict=True)
                    if not matte.isfinite().all()
                ]
    print("\n".join(broken) or "every matte is finite: black, white and noise too")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
