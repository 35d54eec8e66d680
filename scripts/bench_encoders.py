"""Bytes, PSNR and speed of every output type, quality and write mode, on the demo's clips with their true alpha.

    .venv/bin/python scripts/bench_encoders.py [--frames 40] [--types x264 vp9 prores4444 gif]

PSNR is of the colours where the true alpha is above one half, against what the encoder was given, read back with
alpha. Speed is frames per second of processor time, so that a busy machine does not change it much; the quickest of
--rounds encodings counts, after one that does not. A mode that needs
the fewest bytes at equal PSNR is found by reading its sizes at the other modes' PSNR off its own four qualities.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.request import OUTPUT_SHORT_NAMES, Quality, WriteMode
from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.join import join_parts

QUALITIES, MODES = get_args(Quality), get_args(WriteMode)
THREADS = 4


@dataclass(frozen=True)
class Found:
    """Sums over the clips."""

    size: int
    psnr: float
    rate: float


def cut_outs(name: str, most: int) -> list[NDArray[np.uint8]]:
    """A demo clip's frames (H, W, 4), black where nobody sees them."""
    frames = []
    with av.open(str(demo_clips() / f"{name}.mp4")) as film, av.open(str(demo_clips() / f"{name}.alpha.mkv")) as truth:
        pairs = zip(film.decode(video=0), truth.decode(video=0), strict=True)
        for picture, alpha in itertools.islice(pairs, 10, 10 + most):
            matte = alpha.to_ndarray(format="gray")
            colours = picture.to_ndarray(format="rgb24") * (matte[..., None] > 0)
            frames.append(np.ascontiguousarray(np.dstack([colours, matte]).astype(np.uint8)))
    return frames


def encode(path: Path, images: list[NDArray[np.uint8]], output_type: str, quality: str, mode: str) -> tuple[int, float]:
    """Write a file; its bytes, and seconds of processor time."""
    form = format_of(output_type)
    height, width = images[0].shape[:2]
    spec = EncodeSpec(
        output_type, quality, mode, width, height, Fraction(1, 25), Fraction(25), None, THREADS, alpha=form.alpha
    )
    part = path.with_suffix(".part")
    before = resource.getrusage(resource.RUSAGE_SELF)
    with open_part(part, spec, "video") as writer:
        for index, image in enumerate(images):
            writer.write(image if form.alpha else np.ascontiguousarray(image[..., :3]), index, 1)
    after = resource.getrusage(resource.RUSAGE_SELF)
    facts = join_parts([part], path, spec, end=len(images), audio_from=None, timeout_s=60)
    return facts.size, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) of a file."""
    with av.open(str(path)) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else None
        for packet in container.demux(video=0):
            for frame in packet.decode() if decoder is None else decoder.decode(packet if packet.size else None):
                yuv = frame.format.name.startswith("yuv")
                yield frame.reformat(
                    format="rgba",
                    src_colorspace=Colorspace.ITU709 if yuv else None,
                    dst_color_range=ColorRange.JPEG,
                    interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
                ).to_ndarray()[..., :3]


def measure(clips: list[list[NDArray[np.uint8]]], output_type: str, quality: str, mode: str, rounds: int) -> Found:
    """Encode every clip and compare what comes back."""
    size, seconds, squares, counted = 0, 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{format_of(output_type).suffix}"
        for images in clips:
            written, spent = min(encode(path, images, output_type, quality, mode) for _ in range(rounds))
            size, seconds = size + written, seconds + spent
            for wanted, found in zip(images, decoded(path), strict=True):
                seen = wanted[..., 3] > 127
                height, width = wanted.shape[:2]
                difference = found[:height, :width][seen].astype(np.float64) - wanted[seen][:, :3]
                squares += float(np.square(difference).sum())
                counted += difference.size
    return Found(size, 10 * np.log10(255**2 * counted / max(squares, 1e-9)), sum(map(len, clips)) / seconds)


def bytes_at(found: dict[str, Found], psnr: float) -> float:
    """The size that a mode would need for a PSNR: its four qualities, joined by lines in log size."""
    points = sorted((entry.psnr, np.log(entry.size)) for entry in found.values())
    return float(np.exp(np.interp(psnr, [x for x, _ in points], [y for _, y in points])))


def main() -> None:
    """Print a table per type, and whether what the write modes promise holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40, help="frames of each clip")
    parser.add_argument("--types", nargs="+", choices=OUTPUT_SHORT_NAMES, default=list(OUTPUT_SHORT_NAMES))
    parser.add_argument("--rounds", type=int, default=2, help="encodings of each clip")
    options = parser.parse_args()
    names = sorted(path.stem for path in demo_clips().glob("*.mp4"))
    clips = [cut_outs(name, options.frames) for name in names]
    for short in options.types:
        output_type = OUTPUT_SHORT_NAMES[short]
        print(f"\n{output_type}: {', '.join(names)}, {sum(map(len, clips))} frames\n")
        print("| mode | quality | kB | PSNR dB | frames/s |\n|---|---|---|---|---|")
        table: dict[str, dict[str, Found]] = {}
        with tempfile.TemporaryDirectory() as folder:
            encode(Path(folder) / f"warm{format_of(output_type).suffix}", clips[0], output_type, "low", "fast")
        for mode in MODES:
            table[mode] = {quality: measure(clips, output_type, quality, mode, options.rounds) for quality in QUALITIES}
            for quality, found in table[mode].items():
                print(
                    f"| {mode} | {quality} | {found.size / 1000:.0f} | {found.psnr:.2f} | {found.rate:.0f} |",
                    flush=True,
                )
        rising = all(
            a.size < b.size and a.psnr < b.psnr
            for found in table.values()
            for a, b in itertools.pairwise(found[quality] for quality in QUALITIES)
        )
        spent = {mode: sum(1 / entry.rate for entry in found.values()) for mode, found in table.items()}
        middle = [table["balanced"][quality].psnr for quality in ("medium", "high")]
        needed = {mode: sum(bytes_at(found, psnr) for psnr in middle) for mode, found in table.items()}
        print(f"\nsize and PSNR rise with quality in every mode: {rising}")
        print("processor time against fast: " + ", ".join(f"{m} {spent[m] / spent['fast']:.2f}" for m in MODES))
        print(
            "bytes at balanced's PSNR against small: "
            + ", ".join(f"{m} {needed[m] / needed['small']:.2f}" for m in MODES)
        )


if __name__ == "__main__":
    main()
