"""Frames of containers that have the times of decoding alone are shown at even times, in their order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from video_clips import Clip, make

from birefnet_batch.video.decoding_times import DecodingTimes
from birefnet_batch.video.reader import FrameReader

H264 = {"g": "9", "bf": "3", "x264-params": "scenecut=0"}


def read(path: Path) -> tuple[list[Fraction], list[float], list[str]]:
    """Times in seconds, the brightness of each frame, notes."""
    times, levels = [], []
    with FrameReader(path) as reader:
        for frame in reader:
            times.append(frame.pts * reader.info.time_base)
            levels.append(float(frame.image.mean()))
            frame.release()
    return times, levels, reader.notes


@pytest.mark.parametrize("form", ["avi", "mxf", "asf"])
def test_reordered_frames_are_a_frame_apart(form: str, tmp_path: Path) -> None:
    times, levels, notes = read(make(tmp_path / f"clip.{form}", Clip(frames=20, format=form, options=H264)))
    _, as_in_mp4, _ = read(make(tmp_path / "clip.mp4", Clip(frames=20, options=H264)))
    steps = {round(after - before, 3) for before, after in pairwise(times)}
    assert len(steps) == 1
    assert times[0] == 0
    assert levels == pytest.approx(as_in_mp4, abs=0.5), "the pictures are in their order"
    assert not [note for note in notes if "time" in note]


def sent(times: DecodingTimes, *pts: int) -> None:
    for value in pts:
        packet = av.Packet(b"x")
        packet.pts = value
        times.sent(packet)


def frames(*pts: int) -> list[av.VideoFrame]:
    found = []
    for value in pts:
        frame = av.VideoFrame(16, 16)
        frame.pts = value
        found.append(frame)
    return found


def test_frames_whose_packets_have_their_own_times_keep_them() -> None:
    times = DecodingTimes(needed=True)
    sent(times, 0, 4, 2)
    assert [frame.pts for frame in times.timed(frames(0, 2, 4))] == [0, 2, 4]
    sent(times, 5, 6)
    assert [frame.pts for frame in times.timed(frames(7))] == [7]


def test_a_packet_that_gives_no_frame_takes_no_time_from_another() -> None:
    times = DecodingTimes(needed=True)
    sent(times, 0, 1, 2)
    times.refused()
    sent(times, 3)
    assert [frame.pts for frame in times.timed(frames(9, 9, 9))] == [0, 1, 3]
