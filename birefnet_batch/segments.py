"""A video as a list of segments: ranges between keyframes of the source, fixed by the input and the settings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet_batch.video.formats import Format
from birefnet_batch.video.info import Keyframe, VideoInfo
from birefnet_batch.video.keyframes import find_keyframes


@dataclass(frozen=True)
class Segment:
    """The frames from one keyframe of the source up to another; small and picklable."""

    index: int
    start: Keyframe | None = None
    """The first frame; None: the video's own."""
    stop: Keyframe | None = None
    """The frame after the last one; None: to the end, whatever the container declares."""


@dataclass(frozen=True)
class SegmentPlan:
    """How a video is cut."""

    segments: tuple[Segment, ...]
    """In order; one at least."""
    notes: tuple[str, ...] = ()
    """Why it was cut otherwise than asked for."""


def plan_segments(
    path: Path, info: VideoInfo, form: Format, segment_frames: int | None, timeout_s: float = 60.0
) -> SegmentPlan:
    """Decide where to cut a video; its packets are read for it, and no picture is decoded.

    Args:
        path: the source.
        info: its facts.
        form: the output's type; one that cannot be joined stays whole.
        segment_frames: how many frames a segment is meant to have; None leaves the video whole.
        timeout_s: seconds that the reading process may stay silent.

    Raises:
        InputError: the source cannot be read.
        DecoderCrashError: the reading process died or did not answer.
    """
    whole = (Segment(0),)
    if segment_frames is None:
        return SegmentPlan(whole)
    if not form.joinable:
        return SegmentPlan(whole, (f"{form.output_type} cannot be joined of segments: the video was kept whole",))
    if info.frames is not None and info.frames <= segment_frames:
        return SegmentPlan(whole)
    found = find_keyframes(path, timeout_s)
    if found.frames <= segment_frames:
        return SegmentPlan(whole)
    segments = cut(found.keyframes, found.frames, segment_frames)
    if len(segments) == 1:
        reason = found.reason or "the source has no keyframe where it could be cut"
        return SegmentPlan(segments, (f"{reason}: the video was kept whole",))
    return SegmentPlan(segments)


def cut(keyframes: Sequence[Keyframe], frames: int, segment_frames: int) -> tuple[Segment, ...]:
    """Cut at the last keyframe at or before each multiple of `segment_frames`, where there is one since the last cut.

    A segment is therefore longer than `segment_frames` by less than the distance of two keyframes.

    Args:
        keyframes: where a cut may be, in the order in which they are shown.
        frames: how many the video has.
        segment_frames: how many a segment is meant to have.
    """
    cuts: list[Keyframe] = []
    candidates = [keyframe for keyframe in keyframes if 0 < keyframe.frame < frames]
    place = 0
    for most in range(segment_frames, frames, segment_frames):
        last: Keyframe | None = None
        while place < len(candidates) and candidates[place].frame <= most:
            last = candidates[place]
            place += 1
        if last is not None:
            cuts.append(last)
    edges = [None, *cuts, None]
    return tuple(Segment(index, edges[index], edges[index + 1]) for index in range(len(cuts) + 1))
