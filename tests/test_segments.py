"""Segments are fixed by the input and the settings alone, and cover every frame once."""

from __future__ import annotations

from itertools import pairwise

import pytest

from birefnet_batch.segments import Segment, plan_segments


@pytest.mark.parametrize(("frames", "most"), [(1, 1), (7, 3), (9, 3), (100, 7), (50, 1)])
def test_segments_cover_every_frame_once_and_the_last_is_open(frames: int, most: int) -> None:
    segments = plan_segments(frames, most)
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert segments[0].start == 0
    assert segments[-1].stop is None
    for before, after in pairwise(segments):
        assert before.stop == after.start
        assert 0 < after.start - before.start <= most
    assert 0 < frames - segments[-1].start <= most


@pytest.mark.parametrize(("frames", "most"), [(None, 10), (100, None), (10, 10)])
def test_a_video_stays_whole_unless_it_is_known_to_be_longer(frames: int | None, most: int | None) -> None:
    assert plan_segments(frames, most) == [Segment(0, 0, None)]
