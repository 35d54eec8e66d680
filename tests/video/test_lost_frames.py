"""Frames that decoders leave out in silence are counted, and none of those that are not there to be shown."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import pytest
from video_clips import Clip, destroy, make

from birefnet_batch.counted import Note
from birefnet_batch.errors import InputError
from birefnet_batch.video import decoding
from birefnet_batch.video.decoding import open_video
from birefnet_batch.video.frame_range import FrameRange, Place
from birefnet_batch.video.info import Keyframe
from birefnet_batch.video.keyframes import find_keyframes
from birefnet_batch.video.messages import DecodeTask
from birefnet_batch.video.reader import FrameReader

FRAMES = 60
H264 = Clip(frames=FRAMES, options={"g": "10", "bf": "2"})
HEVC = replace(H264, codec="libx265", options={"g": "10", "x265-params": "log-level=none:open-gop=0"})
WHOLE = {
    "H.264 with open groups": replace(H264, options={"g": "10", "bf": "3", "x264-params": "open-gop=1"}),
    "HEVC with open groups": replace(HEVC, options={"g": "10", "x265-params": "log-level=none:open-gop=1"}),
    "interlaced H.264": replace(H264, options={"g": "10", "x264-params": "tff=1"}),
    "VP8 with hidden frames": Clip(
        frames=FRAMES,
        codec="libvpx",
        format="webm",
        options={"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "300k"},
    ),
    "VP9 with hidden frames": Clip(
        frames=FRAMES,
        codec="libvpx-vp9",
        format="webm",
        options={"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "300k", "cpu-used": "5"},
    ),
    "AV1": Clip(frames=FRAMES, codec="libsvtav1", options={"preset": "12", "svtav1-params": "keyint=20"}),
    "ProRes": Clip(frames=4, codec="prores_ks", format="mov", pix_fmt="yuv422p10le"),
}


def read(path: Path) -> tuple[int, int, list[Note]]:
    """How many frames there are, how many are counted as damaged, and the notes."""
    with FrameReader(path) as reader:
        count = 0
        for frame in reader:
            count += 1
            frame.release()
        return count, reader.corrupt_frames, reader.notes


def times_within(
    path: Path, start: Keyframe | int | None, stop: Keyframe | None, corrupt: str = "conceal"
) -> tuple[list[int | None], int]:
    """The times of a range's frames, decoded in this process, and how many are counted as damaged."""
    task = DecodeTask(os.fsencode(path), start or 0, stop, corrupt)
    with open_video(task.path, corrupt) as (_, _, decoder):
        chosen = FrameRange(task, decoder)
        times = [frame.pts for place, _, frame in chosen if place is Place.within]
        return times, chosen.corrupt_frames


@pytest.mark.parametrize("clip", [H264, HEVC], ids=["H.264", "HEVC"])
def test_a_destroyed_first_keyframe_costs_the_video_that_lost_a_sixth(clip: Clip, tmp_path: Path) -> None:
    path = destroy(make(tmp_path / "clip.mp4", clip), range(1))
    with pytest.raises(InputError, match=r"is damaged: \d+ of 60 frames cannot be decoded"):
        read(path)


@pytest.mark.parametrize("kept", [0, 8])
def test_a_few_lost_frames_are_counted_and_noted(kept: int, tmp_path: Path) -> None:
    # The last packet in decoding order: little refers to it.
    path = destroy(make(tmp_path / "clip.mp4", HEVC), range(59, 60), kept)
    count, corrupt, notes = read(path)
    assert count < FRAMES
    assert corrupt == FRAMES - count
    assert notes == [Note("corrupt frames could not be decoded, or only in part", corrupt)]


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_missing_from_a_whole_video_nor_from_its_segments(name: str, tmp_path: Path) -> None:
    clip = WHOLE[name]
    path = make(tmp_path / f"clip.{clip.format}", clip)
    whole, corrupt = times_within(path, 0, None)
    assert (len(whole), corrupt) == (clip.frames, 0)
    keyframes = find_keyframes(path).keyframes
    assert len(keyframes) > 1
    parts = [times_within(path, start, stop) for start, stop in pairwise([*keyframes, None])]
    assert [at for times, _ in parts for at in times] == whole
    assert not any(count for _, count in parts)


def test_a_video_that_was_cut_in_the_middle_of_a_group_is_read_with_what_is_missing_counted(tmp_path: Path) -> None:
    whole = make(tmp_path / "clip.mp4", replace(HEVC, frames=120))
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[8:]:
            packet.stream = stream
            target.mux(packet)
    count, corrupt, _ = read(cut)
    assert (count, corrupt) == (110, 2)


@pytest.mark.parametrize("clip", [H264, HEVC], ids=["H.264", "HEVC"])
def test_segments_count_what_the_whole_counts(clip: Clip, tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", replace(clip, frames=120))
    for number in (19, 59, 89):
        destroy(path, range(number, number + 1))
    keyframes = find_keyframes(path).keyframes
    parts = [times_within(path, start, stop)[1] for start, stop in pairwise([*keyframes[::3], None])]
    assert len(parts) > 2
    assert sum(parts) == times_within(path, 0, None)[1] > 0


def test_one_damaged_frame_of_a_later_segment_is_refused_where_none_may_be(tmp_path: Path) -> None:
    path = destroy(make(tmp_path / "clip.mp4", H264), range(35, 36))
    keyframes = find_keyframes(path).keyframes
    with (
        pytest.raises(InputError, match="media.corrupt_frames=fail"),
        FrameReader(path, start=keyframes[1], stop=keyframes[-1], corrupt="fail") as reader,
    ):
        for frame in reader:
            frame.release()


@pytest.mark.parametrize("policy", ["conceal", "drop"])
@pytest.mark.parametrize(
    ("packet", "share"),
    [(20, 0.0), (20, 0.5), (29, 0.5), (13, 0.5)],
    ids=["a keyframe is gone", "half of a keyframe", "half of a last frame", "half of a reference"],
)
def test_segments_give_the_frames_of_the_whole_in_their_order(
    packet: int, share: float, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With two, libav itself leaves one out of the count of concealed ones, one time in some thirty.
    monkeypatch.setattr(decoding, "_THREADS", 1 if policy == "conceal" else 2)
    path = make(tmp_path / "clip.mp4", Clip(frames=40, options={"g": "10", "bf": "3", "sc_threshold": "0"}))
    with av.open(str(path)) as container:
        size = [one.size for one in container.demux(video=0) if one.size][packet]
    destroy(path, range(packet, packet + 1), max(5, int(size * share)))
    keyframes = find_keyframes(path).keyframes
    assert len(keyframes) == 4
    whole, corrupt = times_within(path, 0, None, policy)
    assert whole == sorted(whole, key=lambda at: at or 0)
    assert len(whole) == len(set(whole)) < 40 if policy == "drop" or share == 0 else len(whole) == 40
    parts = [times_within(path, start, stop, policy) for start, stop in pairwise([None, *keyframes[1:], None])]
    assert [at for times, _ in parts for at in times] == whole
    assert sum(count for _, count in parts) == corrupt > 0


def test_what_is_dropped_is_the_same_each_time(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=40, options={"g": "10", "bf": "3", "sc_threshold": "0"}))
    with av.open(str(path)) as container:
        size = [one.size for one in container.demux(video=0) if one.size][29]
    destroy(path, range(29, 30), size // 2)
    keyframes = find_keyframes(path).keyframes
    given = {tuple(times_within(path, keyframes[2], keyframes[3], "drop")[0]) for _ in range(60)}
    assert [len(times) for times in given] == [9]
