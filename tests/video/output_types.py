"""VP9, ProRes and GIF for tests: numbered cut-outs, written and read back."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from math import floor
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray
from video_clips import Clip, Image, numbered

from birefnet_batch.video.encode import EncodeSpec, Kind, open_part
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.join import JoinedFacts, join_parts

VP9, PRORES, GIF = "VP9 (.webm)", "PRORES4444 (.mov)", "GIF (.gif)"
NEW = (VP9, PRORES, GIF)
NTSC = Fraction(30000, 1001)
UNEVEN = list(accumulate([33, 34, 33, 50, 67, 33, 20, 400, 33, 33, 34, 26, 27, 250, 33, 33, 33, 33, 33], initial=0))
SPEC = EncodeSpec(
    output_type=VP9,
    quality="maximum",
    write_mode="fast",
    width=96,
    height=64,
    time_base=Fraction(1, 25),
    average_rate=Fraction(25),
    sample_aspect_ratio=None,
    threads=2,
    alpha=True,
)


def cut_out(number: int, size: tuple[int, int] = (96, 64)) -> Image:
    """A numbered picture whose alpha is a ramp from left to right, the upper eighth clear and the lower one full."""
    width, height = size
    alpha = np.tile((np.arange(width) * 255 // max(1, width - 1)).astype(np.uint8), (height, 1))
    alpha[: height // 8], alpha[-height // 8 :] = 0, 255
    return np.ascontiguousarray(np.dstack([numbered(number, size), alpha]))


def write(path: Path, images: list[Image], spec: EncodeSpec, kind: Kind = "video", parts: int = 1) -> JoinedFacts:
    """Write images, a tick each, in parts of equal length."""
    files = []
    size = -(-len(images) // parts)
    for first in range(0, len(images), size):
        files.append(path.with_suffix(f".{first}.part"))
        with open_part(files[-1], spec, kind) as writer:
            for number, image in enumerate(images[first : first + size], first):
                writer.write(image, number, 1)
    return join_parts(files, path, spec, end=len(images), audio_from=None, timeout_s=30)


def rgba_frames(path: Path) -> Iterator[Image]:
    """Decode with alpha: VP9 by libvpx, because FFmpeg's own decoder drops it."""
    with av.open(str(path)) as container:
        decoder: Any = None
        if path.suffix == ".webm":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(video=0):
            for frame in packet.decode() if decoder is None else decoder.decode(packet if packet.size else None):
                yield (
                    frame.reformat(
                        format="rgba",
                        src_colorspace=Colorspace.ITU709 if frame.format.name != "bgra" else None,
                        dst_color_range=ColorRange.JPEG,
                        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
                    ).to_ndarray()
                )


def expected_times(clip: Clip, output_type: str) -> list[Fraction]:
    """Each frame at the nearest tick of the container's clock."""
    base = clip.time_base or 1 / clip.rate
    exact = [base * tick for tick in clip.times or range(clip.frames)]
    tick = format_of(output_type).tick
    # Of two ticks that are equally near, libav takes the later one.
    return exact if tick is None else [floor(time / tick + Fraction(1, 2)) * tick for time in exact]


def gif_delays(path: Path) -> list[int]:
    """The delays of a GIF in hundredths, from its graphic control extensions (GIF89a, section 23)."""
    data = path.read_bytes()
    at, delays = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0), []
    while data[at] != 0x3B:
        if data[at] == 0x21:
            if data[at + 1] == 0xF9:
                delays.append(int.from_bytes(data[at + 4 : at + 6], "little"))
            at += 2
        else:
            packed = data[at + 9]
            at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        while data[at]:
            at += data[at] + 1
        at += 1
    return delays


def gif_times(path: Path) -> list[Fraction]:
    return [Fraction(at, 100) for at in accumulate(gif_delays(path)[:-1], initial=0)]


def opaque_picture(scene: NDArray[np.float64]) -> Image:
    full = np.full(scene.shape[:2], 255.0)
    return np.ascontiguousarray(np.dstack([scene, full]).clip(0, 255).astype(np.uint8))


def error_of(image: Image, wanted: Image) -> float:
    return float(np.square(image[..., :3].astype(float) - wanted[..., :3]).mean())
