"""A segment holds exactly the frames that decoding the whole video gives, wherever decoding begins."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import pytest
from edits import hide_first
from video_clips import Clip, Sound, make

from birefnet_batch.segments import Segment, cut
from birefnet_batch.video import decode_process, decoding
from birefnet_batch.video.decoding import Decoder
from birefnet_batch.video.frame_range import FrameRange
from birefnet_batch.video.keyframes import FoundKeyframes, find_keyframes
from birefnet_batch.video.messages import DecodeTask, Start
from birefnet_batch.video.reader import FrameReader

UNEVEN = list(accumulate([33, 34, 33, 50, 67, 33, 1, 400, 33, 33, 34, 16, 17, 250] * 4, initial=0))
H264 = {"g": "9", "bf": "3", "b-pyramid": "normal", "x264-params": "scenecut=0"}
OPEN = {**H264, "x264-params": "scenecut=0:open-gop=1"}
HEVC = {"x265-params": "keyint=9:min-keyint=9:scenecut=0:bframes=3:log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "g": "9"}
LATE = Clip(frames=57, format="mpegts", time_base=Fraction(1, 90000), times=[900000 + 3003 * i for i in range(57)])
SOUGHT: dict[str, Clip] = {
    "mp4": Clip(frames=57, options=H264),
    "mp4-sound": Clip(frames=57, options=H264, sounds=(Sound(),)),
    "mp4-open-gop": Clip(frames=57, options=OPEN),
    "mkv-open-gop": Clip(frames=57, format="matroska", options=OPEN),
    "ts-open-gop": Clip(frames=57, format="mpegts", options=OPEN),
    "ts-late": Clip(frames=57, format="mpegts", time_base=LATE.time_base, times=LATE.times, options=H264),
    "mkv": Clip(frames=57, format="matroska", rate=Fraction(30000, 1001), options=H264),
    "variable": Clip(frames=57, time_base=Fraction(1, 1000), times=UNEVEN, options=H264),
    "variable-mkv": Clip(frames=57, format="matroska", time_base=Fraction(1, 1000), times=UNEVEN, options=H264),
    "fragmented": Clip(frames=57, options=H264, muxer={"movflags": "frag_keyframe+empty_moov"}),
    "hevc": Clip(frames=57, codec="libx265", options=HEVC),
    "hevc-open-gop": Clip(
        frames=57, codec="libx265", options={"x265-params": f"{HEVC['x265-params']}:open-gop=1"}, format="matroska"
    ),
    "vp9": Clip(frames=57, codec="libvpx-vp9", format="webm", options=VP9),
    "mpeg2": Clip(frames=57, codec="mpeg2video", format="mpegts", options={"g": "9", "bf": "2"}),
    "mpeg4-avi": Clip(frames=57, codec="mpeg4", format="avi", options={"g": "9", "bf": "2"}),
    "mjpeg": Clip(frames=57, codec="mjpeg", format="mov", pix_fmt="yuvj420p"),
    "prores": Clip(frames=57, codec="prores_ks", format="mov", pix_fmt="yuv422p10le"),
    "ffv1": Clip(frames=57, codec="ffv1", format="matroska", options={"g": "9"}),
}
DECODED_FROM_THE_START: dict[str, Clip] = {
    # Called keyframes, but the picture is whole only after a while.
    "intra-refresh": Clip(
        frames=57, format="mpegts", options={**H264, "x264-params": "scenecut=0:intra-refresh=1:keyint=9"}
    ),
}


def digests(path: Path, segment: Segment) -> list[tuple[int, int, int, str]]:
    """Index, time, duration and content of each frame of a segment."""
    found = []
    with FrameReader(path, start=segment.start or 0, stop=segment.stop) as reader:
        for frame in reader:
            found.append((frame.index, frame.pts, frame.duration, hashlib.md5(frame.image).hexdigest()))
            frame.release()
    return found


def check(path: Path, found: FoundKeyframes, most: int) -> tuple[Segment, ...]:
    segments = cut(found.keyframes, found.frames, most)
    whole = digests(path, Segment(0))
    assert len(whole) == found.frames
    pieces = [digests(path, segment) for segment in segments]
    assert [frame for piece in pieces for frame in piece] == whole
    assert [piece[0][0] for piece in pieces[1:]] == [segment.start.frame for segment in segments[1:] if segment.start]
    return segments


@pytest.mark.parametrize("name", SOUGHT)
def test_decoding_from_the_keyframe_gives_the_same(name: str, tmp_path: Path) -> None:
    clip = SOUGHT[name]
    path = make(tmp_path / f"clip.{clip.format}", clip)
    found = find_keyframes(path)
    assert found.reason is None
    assert all(keyframe.seek is not None for keyframe in found.keyframes)
    assert len(check(path, found, 20)) == 3


@pytest.mark.parametrize("name", DECODED_FROM_THE_START)
def test_keyframes_that_give_no_whole_picture_are_decoded_up_to(name: str, tmp_path: Path) -> None:
    clip = DECODED_FROM_THE_START[name]
    path = make(tmp_path / f"clip.{clip.format}", clip)
    found = find_keyframes(path)
    assert len(found.keyframes) > 3
    assert not any(keyframe.seek is not None for keyframe in found.keyframes[1:])
    assert len(check(path, found, 20)) == 3


def test_frames_that_an_edit_list_hides_are_in_no_segment(tmp_path: Path) -> None:
    options = {"g": "10", "bf": "0", "sc_threshold": "0"}
    path = hide_first(make(tmp_path / "clip.mp4", Clip(frames=100, options=options)), 35)
    found = find_keyframes(path)
    assert found.frames == 65
    assert [segment.start.frame for segment in check(path, found, 20)[1:] if segment.start] == [15, 35, 55]


def test_a_keyframe_that_is_not_where_it_was_found_costs_time_and_no_frame(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=57, options=H264))
    found = find_keyframes(path)
    # Past the keyframe: what is found there is another one.
    moved = tuple(replace(keyframe, seek=keyframe.pts + 20 * 512) for keyframe in found.keyframes)
    check(path, replace(found, keyframes=moved), 20)


def disordered(path: Path, number: int, options: dict[str, str]) -> Path:
    """60 frames of a transport stream, 5 a second, a keyframe each ten; a frame and the second after it change times.

    So a decoder gives frames of damaged streams that it takes for ones that were reordered.
    """
    options = {"g": "10", "bf": "0", "sc_threshold": "0", **options}
    clip = make(path.with_suffix(".whole"), Clip(frames=60, format="mpegts", rate=Fraction(5), options=options))
    with av.open(str(clip)) as source, av.open(str(path), "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        times = [packet.pts for packet in packets]
        times[number], times[number + 2] = times[number + 2], times[number]
        for packet, pts in zip(packets, times, strict=True):
            # Nothing may be shown before it is decoded.
            packet.pts, packet.dts, packet.stream = (pts or 0) + 90000, packet.dts, stream
            target.mux(packet)
    return path


@pytest.mark.parametrize(
    ("number", "options"),
    [(34, {"x264-params": "tff=1"}), (45, {"x264-params": "tff=1"}), (45, {})],
    ids=["interlaced, before the segment", "interlaced, within", "progressive, within"],
)
def test_a_segment_whose_keyframe_is_lost_on_the_way_has_the_times_and_pictures_of_the_whole(
    number: int, options: dict[str, str], tmp_path: Path
) -> None:
    path = disordered(tmp_path / "clip.ts", number, options)
    start = find_keyframes(path).keyframes[4]
    assert start.frame == 40
    assert start.seek is not None
    assert digests(path, Segment(1, start)) == digests(path, Segment(0))[40:]


def test_decoding_that_begins_again_is_heard_of_with_every_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = disordered(tmp_path / "clip.ts", 45, {})
    told: list[str] = []
    frames = Decoder.frames

    def counted(decoder: Decoder) -> Iterator[av.VideoFrame]:
        for frame in frames(decoder):
            told.append("frame")
            yield frame

    parent = SimpleNamespace(send=lambda message: told.append("word"), recv=lambda: Start(60), poll=lambda: False)
    monkeypatch.setattr(Decoder, "frames", counted)
    monkeypatch.setattr(decode_process, "Pulse", lambda connection: lambda: told.append("word"))
    with tempfile.TemporaryFile() as memory:
        memory.truncate(60 * 96 * 64 * 3)
        task = DecodeTask(bytes(path), find_keyframes(path).keyframes[2], None)
        decode_process.work(cast(Any, parent), memory.fileno(), task)
    silences = [len(list(run)) for kind, run in groupby(told) if kind == "frame"]
    # Those of the segment until frames are out of order, and then all.
    assert sum(silences) > 80
    # A frame is sent when the next one is known.
    assert max(silences) <= 2


def test_a_segment_costs_its_own_frames_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=200, options=H264))
    found = find_keyframes(path)
    segments = cut(found.keyframes, found.frames, 20)
    packets: list[Any] = []
    decode = decoding.Decoder._demux

    def counted(self: decoding.Decoder) -> Any:
        for packet in decode(self):
            packets.append(packet)
            yield packet

    monkeypatch.setattr(decoding.Decoder, "_demux", counted)
    last = segments[-2]
    assert last.start is not None
    assert last.stop is not None
    with decoding.open_video(str(path).encode()) as (_, _, decoder):
        task = DecodeTask(str(path).encode(), last.start, last.stop)
        frames = [frame for _, _, frame in FrameRange(task, decoder)]
    # And the one after them, by which the end is known.
    assert len(frames) == last.stop.frame - last.start.frame + 1
    # The first frame of all is decoded for the facts; some packets wait in the decoder's threads.
    assert len(packets) < len(frames) + 30


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (Clip(frames=40, format="h264", options={"g": "9"}), "no times"),
        (
            Clip(
                frames=40,
                format="matroska",
                time_base=Fraction(1, 1000),
                times=[40 * i + 8_000_000 * (i > 20) for i in range(40)],
                options={"g": "9"},
            ),
            "clock of the source jumps",
        ),
        (Clip(frames=40, format="avi", options=H264), "decoded, not shown"),
        (Clip(frames=40, format="mxf", options=H264), "decoded, not shown"),
        (Clip(frames=40, format="asf", options=OPEN), "decoded, not shown"),
    ],
    ids=["no-times", "jump", "avi", "mxf", "asf"],
)
def test_times_that_cannot_be_relied_on_give_no_keyframes(clip: Clip, reason: str, tmp_path: Path) -> None:
    found = find_keyframes(make(tmp_path / "clip", clip))
    assert found.keyframes == ()
    assert found.reason is not None
    assert re.search(reason, found.reason)


def test_segments_follow_one_another_in_time(tmp_path: Path) -> None:
    found = find_keyframes(make(tmp_path / "clip.mp4", SOUGHT["mp4-open-gop"]))
    assert all(before.pts < after.pts for before, after in pairwise(found.keyframes))
