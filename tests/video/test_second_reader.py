"""Times as a second, independent reader sees them: video and mask of every type, from clocks of every kind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import floor
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from edits import hide_first
from video_clips import Clip, Image, make

from birefnet_batch.video.encode import EncodeSpec, Kind, open_part
from birefnet_batch.video.formats import FORMATS
from birefnet_batch.video.join import join_parts
from birefnet_batch.video.reader import FrameReader

pytestmark = pytest.mark.skipif(which("ffprobe") is None, reason="ffprobe, the second reader, is not installed")
COUNT = 30


def _lie(path: Path) -> None:
    """Say that it takes five times as long as it does, in the header of the track and of the file."""
    data = bytearray(path.read_bytes())
    for box, place in ((b"mvhd", 16), (b"mdhd", 16)):
        at = data.index(box) + 4 + place
        duration = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = (5 * duration).to_bytes(4, "big")
    path.write_bytes(data)


@dataclass(frozen=True)
class Case:
    """A source, what is done to its file, and when its frames are shown, in seconds."""

    clip: Clip
    times: list[Fraction]
    change: Callable[[Path], object] = lambda path: None


def constant(rate: Fraction, count: int = COUNT) -> list[Fraction]:
    return [index / rate for index in range(count)]


NTSC, DOUBLE, ODD = Fraction(30000, 1001), Fraction(60000, 1001), Fraction(90000, 2999)
B_FRAMES = {"bf": "3", "b-pyramid": "normal", "g": "12"}
CASES = {
    "29.97": Case(Clip(frames=COUNT, rate=NTSC, options=B_FRAMES), constant(NTSC)),
    "59.94": Case(Clip(frames=COUNT, rate=DOUBLE, options=B_FRAMES), constant(DOUBLE)),
    "no whole milliseconds": Case(
        Clip(frames=COUNT, time_base=Fraction(1, 90000), times=[2999 * i for i in range(COUNT)], options=B_FRAMES),
        constant(ODD),
    ),
    "late": Case(
        Clip(
            frames=COUNT,
            format="mpegts",
            time_base=Fraction(1, 90000),
            times=[900_000 + 3003 * i for i in range(COUNT)],
            options=B_FRAMES,
        ),
        constant(NTSC),
    ),
    "edit list": Case(
        Clip(frames=COUNT + 10, options={"bf": "0", "g": "10"}), constant(Fraction(25)), partial(hide_first, frames=10)
    ),
    "header that lies": Case(Clip(frames=COUNT, options=B_FRAMES), constant(Fraction(25)), _lie),
}


def shown(path: Path) -> list[Fraction]:
    """When each frame is shown, as ffprobe sees it; its packets, for those of a GIF hold the delays themselves."""
    command = ["ffprobe", "-v", "warning", "-min_delay", "1"] if path.suffix == ".gif" else ["ffprobe", "-v", "warning"]
    command += ["-select_streams", "v", "-show_entries", "packet=pts:stream=time_base", "-of", "compact=p=0:nk=1"]
    run = subprocess.run([*command, path], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    *ticks, base = run.stdout.split()
    return sorted(int(tick) * Fraction(base) for tick in ticks)


@pytest.mark.parametrize("name", CASES)
def test_video_and_mask_of_every_type_have_the_times_of_the_source(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = make(tmp_path / "clip", case.clip)
    case.change(source)
    frames: list[tuple[Image, int, int]] = []
    with FrameReader(source) as reader:
        for frame in reader:
            frames.append((frame.image.copy(), frame.pts, frame.duration))
            frame.release()
    assert [pts * reader.info.time_base for _, pts, _ in frames] == case.times
    for form in FORMATS.values():
        spec = EncodeSpec(
            output_type=form.output_type,
            quality="low",
            write_mode="fast",
            width=reader.info.width,
            height=reader.info.height,
            time_base=reader.info.time_base,
            average_rate=reader.info.average_rate,
            sample_aspect_ratio=None,
            threads=2,
        )
        kinds: tuple[Kind, ...] = ("video", "mask")
        for kind in kinds:
            path = tmp_path / f"{kind}{form.suffix}"
            part = path.with_suffix(".part")
            with open_part(part, spec, kind) as writer:
                for image, pts, duration in frames:
                    writer.write(np.ascontiguousarray(image[..., 0]) if kind == "mask" else image, pts, duration)
            end = sum(frames[-1][1:])
            join_parts([part], path, spec, end=end, audio_from=None, timeout_s=30)
            tick = form.tick
            wanted = [time if tick is None else floor(time / tick + Fraction(1, 2)) * tick for time in case.times]
            assert shown(path) == wanted, (form.output_type, kind)
