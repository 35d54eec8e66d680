"""Presentation times that can be relied on: one for every frame, strictly increasing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from birefnet_batch.counted import Note

if TYPE_CHECKING:
    import av

# A shorter step back is jitter of the file's clock; a longer one is another recording joined on, with its own clock.
JITTER_S = Fraction(1)
"""The longest step back that is jitter, in seconds."""
# No frame is shown for longer: such a step forward is a time that was written wrong, or a clock that was set.
LONGEST_S = Fraction(3600)
"""The longest time that a frame is believed to be shown, in seconds."""


class Timeline:
    """Places frames in time, in the order in which they are shown.

    A frame without a time comes one step (the duration of the frame before it) after the frame before it. One that
    is not after the frame before it comes a tick after that. Where the clock jumps back by more than a second, or
    forward by more than an hour, it is set so that this frame comes one step after the one before it. Declared
    durations count unless the times of the frames belie all of them: Matroska takes them from its header.

    Args:
        origin: the file's time, in ticks of `time_base`, that becomes 0.
        time_base: seconds a tick.
        rate: frames a second on average, for frames without a duration.
    """

    def __init__(self, origin: int, time_base: Fraction, rate: Fraction | None) -> None:
        self._offset = origin
        self._usual = max(1, round(1 / (rate * time_base))) if rate else 1
        self._back = max(1, round(JITTER_S / time_base))
        self._forward = max(1, round(LONGEST_S / time_base))
        self._previous: int | None = None
        self._step = self._usual
        self._declared: int | None = None
        self._gap: int | None = None
        self._believed = False
        self.corrected = 0
        """How many frames have another time than the file says."""
        self.jumps = 0
        """How often the clock was set."""

    def duration(self, frame: av.VideoFrame) -> int:
        """How long a frame is shown when none follows, in ticks."""
        if self._gap is not None and not self._believed:
            return self._gap
        return self._own(frame) or self._usual

    def place(self, frame: av.VideoFrame) -> int:
        """The time of the next frame, in ticks."""
        previous, following = self._previous, 0 if self._previous is None else self._previous + self._step
        if frame.pts is None:
            pts = following
        else:
            pts = frame.pts - self._offset
            if previous is None:
                pts = max(pts, 0)
            elif pts < previous - self._back or pts > previous + self._forward:
                self._offset = frame.pts - following
                self.jumps += 1
                pts = following
            elif pts <= previous:
                pts = previous + 1
                self.corrected += 1
        if previous is not None and self._declared is not None:
            self._gap = pts - previous
            # A clock of milliseconds rounds.
            self._believed = self._believed or abs(self._declared - self._gap) <= max(1, self._gap // 4)
        self._declared = self._own(frame)
        self._previous, self._step = pts, self.duration(frame)
        return pts

    def _own(self, frame: av.VideoFrame) -> int | None:
        own = frame.duration or 0
        return own if 0 < own <= self._forward else None

    def notes(self) -> Iterator[Note]:
        """What was changed, for people."""
        if self.corrected:
            yield Note("frames had the time of another one and were moved by as little as possible", self.corrected)
        if self.jumps:
            yield Note("jumps of the file's clock were closed: the frames follow one another without a gap", self.jumps)
