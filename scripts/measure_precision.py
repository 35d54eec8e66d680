"""What bf16 and fp16 change in the mattes of real pictures, against float32, on a CPU.

    .venv/bin/python scripts/measure_precision.py [--models demo,heavy,light] [--resolution 512x512] [--pictures 6]
        [--precisions bf16,fp16] [--weights heavy=FILE] [--threads 2]

The pictures are frames of the demo clips. The demo model has its trained weights; others have those of --weights, or
the deterministic ones of tests/reference. Errors are differences of mattes at the operating resolution, in steps of
1/255. A black, a white and a noise frame run too: their mattes must be finite. Table in docs/models.md; the figures
that engines warn by are in birefnet_batch/models/precision.py.
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
from birefnet_batch.matting import frames_to_input
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, locate_weights


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


def main() -> None:
    """Print a line of the table per model and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="demo,heavy,light", help="short names; commas")
    parser.add_argument("--resolution", default="512x512", help="WIDTHxHEIGHT")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--precisions", default="bf16,fp16")
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    given = dict(entry.split("=", 1) for entry in options.weights)
    size = size_of(options.resolution)
    named = [*pictures(options.pictures), *extremes()]
    inputs = [frames_to_input(frame, *size) for _, frame in named]
    print(f"{options.pictures} pictures at {options.resolution}, torch {torch.__version__}; errors in steps of 1/255")
    print("| model | weights | precision | mean | 99.9 % | largest |\n|---|---|---|---|---|---|")
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            network, origin = find_model(name).network, given.get(name, "trained")
            if name in given or network == "demo":
                weights = locate_weights(find_model(name), given.get(name))
            else:
                path, origin = Path(folder) / f"{network}.safetensors", "deterministic"
                write_weights(network, path)
                weights = WeightsFile(path, "0" * 64, str(path))
            wanted = mattes(name, weights, "fp32", size, inputs, options.threads)
            for precision in ("fp32", *options.precisions.split(",")):
                found = wanted
                if precision != "fp32":
                    found = mattes(name, weights, precision, size, inputs, options.threads)
                    errors = 255 * (found - wanted)[: options.pictures].abs().flatten().double()
                    high = errors.kthvalue(max(1, round(0.999 * len(errors)))).values
                    print(
                        f"| {name} ({network}) | {origin} | {precision} | {errors.mean():.3f} | {high:.2f} "
                        f"| {errors.max():.1f} |",
                        flush=True,
                    )
                for (label, _), matte in zip(named, found, strict=True):
                    if not matte.isfinite().all():
                        broken = True
                        print(f"{name} {precision}: the matte of {label} is not finite")
    print("some mattes are not finite" if broken else "every matte is finite: black, white and noise too")
    sys.exit(broken)


if __name__ == "__main__":
    main()
