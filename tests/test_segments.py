"""Segments are fixed by the input and the settings alone, begin at keyframes and cover every frame once."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from video_clips import Clip, make

from birefnet_batch.segments import Segment, cut, plan_segments
from birefnet_batch.video.formats import GIF, X264
from birefnet_batch.video.info import Keyframe
from birefnet_batch.video.probe import probe


def keyframes(*places: int) -> list[Keyframe]:
    return [Keyframe(place, place * 512, place * 512) for place in places]


def starts(segments: tuple[Segment, ...]) -> list[int]:
    return [segment.start.frame if segment.start else 0 for segment in segments]


@pytest.mark.parametrize(
    ("places", "frames", "most", "wanted"),
    [
        ((0, 10, 20, 30), 40, 10, [0, 10, 20, 30]),
        ((0, 10, 20, 30), 40, 15, [0, 10, 30]),
        ((0, 7, 9, 29, 31), 40, 10, [0, 9, 29]),
        ((0,), 40, 10, [0]),
        ((), 40, 10, [0]),
        ((0, 10), 40, 40, [0]),
        (range(50), 50, 1, list(range(50))),
    ],
    ids=str,
)
def test_cuts_are_at_the_last_keyframe_at_or_before_each_multiple(
    places: tuple[int, ...], frames: int, most: int, wanted: list[int]
) -> None:
    segments = cut(keyframes(*places), frames, most)
    assert starts(segments) == wanted
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert segments[0].start is None
    assert segments[-1].stop is None
    assert all(before.stop == after.start for before, after in pairwise(segments))


def test_a_plan_is_the_same_every_time_and_travels(tmp_path: Path) -> None:
    path = make(
        tmp_path / "clip.mkv", Clip(frames=60, format="matroska", options={"g": "8", "bf": "2", "sc_threshold": "0"})
    )
    plans = [plan_segments(path, probe(path), X264, 20) for _ in range(2)]
    assert plans[0] == plans[1] == pickle.loads(pickle.dumps(plans[0]))
    assert starts(plans[0].segments) == [0, 16, 40]
    assert plans[0].notes == ()


@pytest.mark.parametrize("most", [None, 60, 100])
def test_a_video_stays_whole_unless_it_is_longer(most: int | None, tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=60, options={"g": "8", "sc_threshold": "0"}))
    plan = plan_segments(path, probe(path), X264, most)
    assert (plan.segments, plan.notes) == ((Segment(0),), ())


def test_what_cannot_be_cut_or_joined_stays_whole_and_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=60, options={"g": "8", "sc_threshold": "0"}))
    plan = plan_segments(path, probe(path), GIF, 20)
    assert plan.segments == (Segment(0),)
    assert plan.notes == ("GIF (.gif) cannot be joined of segments: the video was kept whole",)
    single = make(tmp_path / "single.mp4", Clip(frames=60, options={"g": "250", "sc_threshold": "0"}))
    plan = plan_segments(single, probe(single), X264, 20)
    assert plan.segments == (Segment(0),)
    assert plan.notes == ("the source has no keyframe where it could be cut: the video was kept whole",)
