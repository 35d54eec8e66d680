"""Files joined of 1, 2, 7 or 50 segments: the same frames and times, and nothing that any reader complains of."""

from __future__ import annotations

import errno
import subprocess
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from browser import CHROMIUM, played
from video_clips import Clip, Image, Sound, convert, look, make

from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.info import VideoInfo
from birefnet_batch.video.join import JoinTask, join_parts
from birefnet_batch.video.parts import WholePart
from birefnet_batch.video.reader import FrameReader

STEPS = [33, 34, 33, 50, 67, 33, 1, 400, 33, 33, 34, 16, 17, 250]
FRAMES = 100
CUTS = {1: (), 2: (51,), 7: (1, 2, 17, 40, 41, 90), 50: tuple(range(2, FRAMES, 2))}
SOURCES = {
    "film": Clip(frames=FRAMES, rate=Fraction(24000, 1001), sounds=(Sound(seconds=4),), options={"bf": "3"}),
    "variable": Clip(
        frames=FRAMES,
        time_base=Fraction(1, 1000),
        times=list(accumulate(STEPS * 8, initial=0))[:FRAMES],
        options={"bf": "3"},
        sounds=(Sound(seconds=4),),
    ),
}
TYPES = {"X264 (.mp4)": ".mp4", "VP9 (.webm)": ".webm", "PRORES4444 (.mov)": ".mov"}
NEEDS_FFMPEG = pytest.mark.skipif(
    which("ffprobe") is None or which("ffmpeg") is None,
    reason="ffmpeg and ffprobe, the second reader, are not installed",
)


@dataclass(frozen=True)
class Source:
    """A source, decoded once for all."""

    path: Path
    info: VideoInfo
    frames: list[tuple[Image, int, int]]
    """Picture, time and duration in ticks."""

    @property
    def times(self) -> list[Fraction]:
        """When each frame is shown, in seconds."""
        return [pts * self.info.time_base for _, pts, _ in self.frames]


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = make(tmp_path_factory.mktemp("source") / f"{request.param}.mp4", SOURCES[request.param])
    frames = []
    with FrameReader(path) as reader:
        for frame in reader:
            frames.append((frame.image.copy(), frame.pts, frame.duration))
            frame.release()
        return Source(path, reader.info, frames)


@pytest.fixture(scope="module", params=[(t, n) for t in TYPES for n in CUTS], ids=lambda p: f"{TYPES[p[0]]}-{p[1]}")
def joined(
    request: pytest.FixtureRequest, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Fraction]]:
    """A file joined of so many segments, with sound, and the times that its frames should have."""
    output_type, count = request.param
    path = tmp_path_factory.mktemp("joined") / f"out{TYPES[output_type]}"
    alpha = output_type != "X264 (.mp4)"
    spec = EncodeSpec(
        output_type=output_type,
        quality="low",
        write_mode="fast",
        width=source.info.width,
        height=source.info.height,
        time_base=source.info.time_base,
        average_rate=source.info.average_rate,
        sample_aspect_ratio=None,
        threads=2,
        alpha=alpha,
    )
    parts = []
    for first, last in pairwise((0, *CUTS[count], FRAMES)):
        parts.append(path.with_name(f"{first}.part"))
        with open_part(parts[-1], spec, "video") as writer:
            for image, pts, duration in source.frames[first:last]:
                opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
                writer.write(np.concatenate([image, opaque], axis=2) if alpha else image, pts, duration)
    _, pts, duration = source.frames[-1]
    facts = join_parts(parts, path, spec, end=pts + duration, audio_from=source.path, timeout_s=60)
    assert (facts.frames, facts.notes) == (FRAMES, ())
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    return path, source.times


def tolerance(path: Path) -> Fraction:
    """Half a tick of the container's clock."""
    return Fraction(1, 2000) if path.suffix == ".webm" else Fraction(0)


def test_frames_and_times_are_those_of_the_source(joined: tuple[Path, list[Fraction]]) -> None:
    path, times = joined
    seen = look(path)
    assert seen.numbers == list(range(FRAMES))
    assert all(abs(found - wanted) <= tolerance(path) for found, wanted in zip(seen.times, times, strict=True))


@NEEDS_FFMPEG
def test_ffprobe_and_ffmpeg_read_it_without_a_complaint(joined: tuple[Path, list[Fraction]]) -> None:
    path, times = joined
    entries = "frame=best_effort_timestamp_time:stream=nb_read_frames"
    command = ["ffprobe", "-v", "warning", "-count_frames", "-select_streams", "v", "-show_entries", entries]
    probed = subprocess.run([*command, "-of", "flat", path], capture_output=True, text=True, check=True)
    assert probed.stderr == ""
    assert f'nb_read_frames="{FRAMES}"' in probed.stdout
    found = [float(line.split('"')[1]) for line in probed.stdout.splitlines() if "timestamp" in line]
    assert found == pytest.approx([float(time) for time in times], abs=float(tolerance(path)) + 1e-6)
    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-fps_mode", "passthrough"]
    # What is decoded keeps the file's own clock, or ffmpeg rounds times to the average rate and complains of that.
    command += ["-enc_time_base", "-1", "-f", "null", "-"]
    decoded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert decoded.stderr == ""


@NEEDS_FFMPEG
def test_the_last_frame_lasts_as_long_as_in_the_source(tmp_path: Path) -> None:
    clip = replace(SOURCES["film"], sounds=())
    path = make(tmp_path / "clip.mp4", clip)
    for output_type, suffix in TYPES.items():
        out = tmp_path / f"out{suffix}"
        convert(path, out, cuts=CUTS[7], output_type=output_type)
        command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", out]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert float(found) == pytest.approx(FRAMES * 1001 / 24000, abs=0.0011 if suffix == ".webm" else 1e-4)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium, which plays them, is not installed")
def test_chromium_plays_every_frame(tmp_path: Path) -> None:
    clip = replace(SOURCES["film"], frames=50, sounds=())
    path = make(tmp_path / "clip.mp4", clip)
    files = []
    for output_type in ("X264 (.mp4)", "VP9 (.webm)"):
        for count in (1, 7, 25):
            files.append(tmp_path / f"{count}{TYPES[output_type]}")
            cuts = tuple(cut for cut in range(2, 50, 50 // count) if count > 1)
            convert(path, files[-1], cuts=cuts, output_type=output_type)
    seen = list(played(files, [0, 1, 23, 48, 49], 1001 / 24000))
    assert [file for file, *_ in seen] == files
    for file, width, duration, numbers in seen:
        assert width == 96, file
        assert duration == pytest.approx(50 * 1001 / 24000, abs=0.02), file
        assert numbers == [0, 1, 23, 48, 49], file


def test_a_gif_is_moved_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=3))
    convert(source, tmp_path / "video.gif", output_type="GIF (.gif)")
    task = JoinTask((tmp_path / "video.gif",), tmp_path / "out.gif", gif_spec(), 3, None, None, Fraction(0))
    content = (tmp_path / "video.gif").read_bytes()

    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", refuse)
    WholePart(task, lambda: None).move()
    assert (tmp_path / "out.gif").read_bytes() == content
    assert not (tmp_path / "video.gif").exists()


def gif_spec() -> EncodeSpec:
    return EncodeSpec("GIF (.gif)", "high", "fast", 96, 64, Fraction(1, 25), Fraction(25), None, 1)
