"""Frames of containers that have the times of decoding alone are shown at even times, in their order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import video_clips
from video_clips import Clip, make

from birefnet_batch.counted import Note
from birefnet_batch.video.decoding_times import DecodingTimes
from birefnet_batch.video.keyframes import find_keyframes
from birefnet_batch.video.reader import FrameReader

H264 = {"g": "9", "bf": "3", "x264-params": "scenecut=0"}


def read(path: Path) -> tuple[list[Fraction], list[float], list[Note]]:
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
    assert not [note for note in notes if "time" in note.text]


def pack(source: Path, packed: Path) -> Path:
    """MPEG-4 with B frames as DivX writes it: each in the packet of the frame before it, and an empty one after it."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        headers = bytes(stream.codec_context.extradata or b"")
        rate, size = stream.average_rate, (stream.width, stream.height)
        contents = [bytes(packet) for packet in container.demux(stream) if packet.size]
    for at in reversed(range(1, len(contents))):
        if is_b(contents[at]):
            contents[at - 1 : at + 1] = [contents[at - 1] + contents[at], EMPTY]
    contents[0] = headers + b"\0\0\1\xb2DivX503b1393p\0" + contents[0][contents[0].index(VOP) :]
    with av.open(str(packed), "w", format="avi") as container:
        out = container.add_mux_stream("mpeg4", rate, width=size[0], height=size[1])
        out.time_base = Fraction(1, 25)
        for number, content in enumerate(contents):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = out.time_base, out
            packet.is_keyframe = not content[content.index(VOP) + 4] >> 6
            container.mux(packet)
    return packed


VOP = b"\0\0\1\xb6"
EMPTY = VOP + b"\x51\0\x80"


def is_b(content: bytes) -> bool:
    return content[content.index(VOP) + 4] >> 6 == 2


def test_packed_frames_have_their_own_times_and_are_not_cut(tmp_path: Path) -> None:
    options = {"bf": "1", "g": "9", "flags": "+global_header"}
    source = make(tmp_path / "clip.avi", Clip(frames=30, codec="mpeg4", format="avi", options=options))
    packed = pack(source, tmp_path / "packed.avi")
    assert video_clips.read(packed) == video_clips.read(source)
    found = find_keyframes(packed)
    assert found.keyframes == ()
    assert "decoded, not shown" in (found.reason or "")


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
    times = DecodingTimes(needed=True, codec="h264")
    sent(times, 0, 4, 2)
    assert [frame.pts for frame in times.timed(frames(0, 2, 4))] == [0, 2, 4]
    sent(times, 5, 6)
    assert [frame.pts for frame in times.timed(frames(7))] == [7]


def test_a_packet_that_gives_no_frame_takes_no_time_from_another() -> None:
    times = DecodingTimes(needed=True, codec="h264")
    sent(times, 0, 1, 2)
    times.refused()
    sent(times, 3)
    assert [frame.pts for frame in times.timed(frames(9, 9, 9))] == [0, 1, 3]
