"""The frames of a range: decoded from the keyframe that it begins with, or from the video's beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from itertools import chain

import av

from birefnet_batch.video.decoding import Decoder, LostError, open_at
from birefnet_batch.video.deinterlace import Deinterlacer
from birefnet_batch.video.info import Keyframe
from birefnet_batch.video.messages import DecodeTask


class Place(Enum):
    """Where a frame is, seen from the range."""

    before = "before"
    within = "within"
    after = "after"
    again = "again"
    """It was given before decoding had to begin again, and has its time and its place already."""


class FrameRange:
    """Iterates over the frames of a range, the one after it and, where they must be decoded, those before it.

    Args:
        task: the file and the range.
        decoder: of the same file, at its beginning.
    """

    def __init__(self, task: DecodeTask, decoder: Decoder) -> None:
        self._task = task
        self._decoder = decoder
        self._first = self._index = task.start.frame if isinstance(task.start, Keyframe) else task.start
        self._last: int | None = None
        self._reached_stop = False
        self._given: int | None = None
        self._deinterlacer = Deinterlacer(task.deinterlace)
        self._until = task.stop.pts if isinstance(task.stop, Keyframe) else None
        decoder.count_within(None, self._until)
        self.deinterlaced = 0
        """How many frames of the range were deinterlaced."""

    def __iter__(self) -> Iterator[tuple[Place, int, av.VideoFrame]]:
        """Each frame with its place and its index, counted from the video's first frame.

        After a keyframe that was lost on the way those that were given come again, as such.
        """
        start = self._task.start
        if isinstance(start, Keyframe) and start.seek is not None:
            with suppress(LostError):
                for begin in (start, start.preroll):
                    if begin is None:
                        break
                    with open_at(self._task.path, begin, self._task.corrupt) as sought:
                        sought.count_within(start.pts, self._until)
                        frames = self._in_order(sought, begin, start)
                        first = next(frames, None)
                        if first is None:
                            raise LostError
                        if begin is start and self._deinterlacer.applies_to(first):
                            continue
                        # At once: whoever has all frames that are wanted asks for no more, and then what was wrong.
                        beginning, self._decoder = self._decoder, sought
                        try:
                            yield from self._placed(self._deinterlacer.frames(chain((first,), frames)))
                        except LostError:
                            self._decoder = beginning
                            raise
                        return
        # Placed twice, what was given would be a step back of the clock; kept back, long work would be silent.
        delivered, given = self._index, self._given
        self._begin_again()
        if isinstance(start, Keyframe):
            self._decoder.count_within(start.pts, self._until)
        frames = self._deinterlacer.frames(self._decoder.frames())
        for place, index, frame in self._placed(frames):
            if place is Place.within:
                again = index < delivered
            else:
                again = place is Place.before and given is not None and frame.pts is not None and frame.pts <= given
            yield Place.again if again else place, index, frame

    def _begin_again(self) -> None:
        self._deinterlacer = Deinterlacer(self._task.deinterlace)
        self.deinterlaced = 0
        self._index, self._last = self._first, None

    @property
    def corrupt_frames(self) -> int:
        """How many frames could not be decoded, or only in part."""
        return self._decoder.corrupt_frames

    def check_end(self) -> None:
        """Refuse what ended too early or is too damaged; to be called when the frames are at an end.

        Raises:
            InputError: a result would look finished and would not be.
        """
        # Of a segment the share says little: that of the video is judged when all of them are there.
        whole = self._task.start == 0 and self._task.stop is None
        if self._reached_stop:
            self._decoder.check_damage(whole)
        else:
            self._decoder.check_end(whole)

    def _placed(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[Place, int, av.VideoFrame]]:
        for count, frame in enumerate(frames):
            self._given = frame.pts
            if self._last is None and _is_before(frame, count, self._task.start):
                yield Place.before, count, frame
            elif self._task.stop is not None and not _is_before(frame, self._index, self._task.stop):
                self._reached_stop = True
                yield Place.after, self._index, frame
                return
            else:
                self.deinterlaced += self._deinterlacer.changed
                yield Place.within, self._index, frame
                self._index += 1
                self._last = frame.pts

    @staticmethod
    def _in_order(decoder: Decoder, begin: Keyframe, start: Keyframe) -> Iterator[av.VideoFrame]:
        """Frames from a keyframe on; those shown before it lack what they refer to, and are the range before's.

        Args:
            decoder: at the keyframe.
            begin: the keyframe; it must be there, unless it is damaged and dropped.
            start: the range's first frame, that one or a later one; likewise.
        """
        last: int | None = None
        for frame in decoder.frames():
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise LostError
            if frame.pts < begin.pts:
                continue
            for due in (begin.pts, start.pts):
                if (last is None or last < due) and frame.pts > due and due not in decoder.dropped:
                    raise LostError
            last = frame.pts
            yield frame


def _is_before(frame: av.VideoFrame, index: int, place: Keyframe | int) -> bool:
    if isinstance(place, int):
        return index < place
    return frame.pts is not None and frame.pts < place.pts
