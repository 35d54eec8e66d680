"""Frame counts and presentation times, from the source to the joined file."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from shutil import which

import pytest
from edits import hide_first
from video_clips import Clip, Sound, convert, look, make, read

from birefnet_batch.video.probe import probe

NTSC = Fraction(30000, 1001)
# Steps of a phone that drops its rate in the dark, in milliseconds.
UNEVEN = list(accumulate([33, 34, 33, 50, 67, 33, 1, 400, 33, 33, 34, 16, 17, 250, 33, 33, 33, 33, 33], initial=0))
SOURCES = {
    "25": Clip(),
    "ntsc": Clip(rate=NTSC),
    "ntsc-mkv": Clip(rate=NTSC, format="matroska"),
    "b-frames": Clip(frames=40, options={"bf": "3", "b-pyramid": "normal", "g": "12"}),
    "no-b-frames": Clip(options={"bf": "0"}),
    "variable": Clip(time_base=Fraction(1, 1000), times=UNEVEN, options={"bf": "2"}),
    "variable-mkv": Clip(time_base=Fraction(1, 1000), times=UNEVEN, format="matroska"),
    "ts": Clip(format="mpegts", options={"bf": "2"}),
    "ts-late": Clip(format="mpegts", time_base=Fraction(1, 90000), times=[900000 + 3600 * i for i in range(20)]),
    "late": Clip(time_base=Fraction(1, 1000), times=[500 + 40 * i for i in range(20)]),
    "webm": Clip(codec="libvpx-vp9", format="webm", options={"deadline": "realtime", "cpu-used": "8"}),
    "avi": Clip(codec="mpeg4", format="avi"),
    "mov": Clip(codec="mjpeg", format="mov", pix_fmt="yuvj420p"),
    "gif": Clip(codec="gif", format="gif", pix_fmt="gray", rate=Fraction(10)),
    "one frame": Clip(frames=1),
    "two frames": Clip(frames=2),
}


@pytest.fixture(params=SOURCES, scope="module")
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clip]:
    clip = SOURCES[request.param]
    return make(tmp_path_factory.mktemp("times") / f"clip.{clip.format}", clip), clip


def test_every_frame_is_read_once_at_its_time(source: tuple[Path, Clip]) -> None:
    path, clip = source
    seen, ours = look(path), read(path)
    assert ours.numbers == seen.numbers == list(range(clip.frames))
    assert ours.indexes == list(range(clip.frames))
    assert ours.seconds == [time - seen.times[0] for time in seen.times]
    assert ours.durations[:-1] == [after - before for before, after in zip(ours.pts, ours.pts[1:], strict=False)]
    assert ours.durations[-1] > 0


def test_joined_segments_have_the_frames_and_times_of_the_source(source: tuple[Path, Clip], tmp_path: Path) -> None:
    path, clip = source
    cuts = tuple(cut for cut in (1, 13) if cut < clip.frames)
    facts = convert(path, tmp_path / "out.mp4", cuts=cuts)
    seen = look(tmp_path / "out.mp4")
    assert seen.numbers == list(range(clip.frames))
    assert seen.times == read(path).seconds
    assert facts.frames == clip.frames
    assert facts.size == (tmp_path / "out.mp4").stat().st_size


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (5, 9), (19, None), (3, 100), (20, None)], ids=str)
def test_a_range_is_the_same_as_that_part_of_the_whole(start: int, stop: int | None, tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(options={"bf": "3", "g": "8"}))
    whole, part = read(path), read(path, start, stop)
    for name in ("numbers", "indexes", "pts", "durations"):
        assert getattr(part, name) == getattr(whole, name)[start:stop]


def test_duration_and_rate_of_the_joined_file(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=50))
    facts = convert(source, tmp_path / "out.mp4", cuts=(20,))
    assert facts.duration_s == pytest.approx(2.0)
    assert facts.fps == pytest.approx(25.0)


def test_a_picture_that_starts_after_the_sound_stays_late(tmp_path: Path) -> None:
    times = [200 + 40 * i for i in range(20)]
    clip = Clip(time_base=Fraction(1, 1000), times=times, format="matroska", sounds=(Sound(codec="flac"),))
    ours = read(make(tmp_path / "clip.mkv", clip))
    assert ours.seconds[0] == Fraction(1, 5)
    assert ours.numbers == list(range(20))


def test_frames_outside_an_edit_list_are_neither_delivered_nor_declared(tmp_path: Path) -> None:
    path = hide_first(make(tmp_path / "clip.mp4", Clip(frames=100, options={"g": "10", "bf": "0"})), 35)
    assert read(path).numbers == look(path).numbers == list(range(35, 100))
    assert probe(path).frames == 65


@pytest.mark.parametrize("declared_ms", [10, 2000])
def test_the_last_frame_lasts_as_long_as_the_others_whatever_the_header_of_matroska_says(
    declared_ms: int, tmp_path: Path
) -> None:
    path = make(tmp_path / "clip.mkv", Clip(format="matroska"))
    data = bytearray(path.read_bytes())
    at = data.index(b"\x23\xe3\x83\x84") + 4  # DefaultDuration, nanoseconds
    assert int.from_bytes(data[at : at + 4], "big") == 40_000_000
    data[at : at + 4] = (declared_ms * 1_000_000).to_bytes(4, "big")
    path.write_bytes(data)
    assert read(path).durations == [40] * 20


def test_a_last_frame_that_is_shown_for_longer_keeps_its_duration(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.gif", Clip(codec="gif", format="gif", pix_fmt="gray", rate=Fraction(10)))
    data = bytearray(path.read_bytes())
    last = data.rindex(b"\x21\xf9\x04")
    data[last + 4 : last + 6] = (70).to_bytes(2, "little")
    path.write_bytes(data)
    assert read(path).durations[-2:] == [10, 70]


def test_ffprobe_reads_the_joined_file_without_a_complaint(tmp_path: Path) -> None:
    if which("ffprobe") is None:
        pytest.skip("ffprobe, the second reader, is not installed")
    times = UNEVEN
    clip = Clip(time_base=Fraction(1, 1000), times=times, options={"bf": "3"}, sounds=(Sound(),))
    source = make(tmp_path / "clip.mp4", clip)
    convert(source, tmp_path / "out.mp4", cuts=(5, 6, 11))
    entries = "frame=best_effort_timestamp_time,pict_type"
    run = subprocess.run(
        ["ffprobe", "-v", "warning", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0", "out.mp4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    shown = [round(float(line.split(",")[0]) * 1000) for line in run.stdout.split()]
    assert shown == times
