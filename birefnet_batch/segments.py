"""A video as a list of segments: frame ranges fixed by the input and the settings alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `stop` (exclusive; None: to the end) in presentation order."""

    index: int
    start: int
    stop: int | None


def plan_segments(frames: int | None, segment_frames: int | None) -> list[Segment]:
    """Cut a video.

    Args:
        frames: how many the container declares, if it does; without it the video stays whole.
        segment_frames: the most frames a segment holds; None leaves the video whole.

    Returns:
        At least one segment. The last one is open-ended, so that a declared count that is too small loses nothing.
    """
    if frames is None or segment_frames is None or frames <= segment_frames:
        return [Segment(0, 0, None)]
    starts = range(0, frames, segment_frames)
    return [
        Segment(index, start, None if index == len(starts) - 1 else start + segment_frames)
        for index, start in enumerate(starts)
    ]
