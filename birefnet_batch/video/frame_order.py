"""Frames of a damaged stream in the order in which they are shown.

A decoder that missed a keyframe takes what follows it for a part of the group before, and gives the two interleaved;
one that missed a reference may give a frame twice. One that begins at the next keyframe, for a segment, does neither.
"""

from __future__ import annotations

from collections.abc import Iterator

import av

from birefnet_batch.video.lost_frames import LostFrames

# Codecs reorder by 16 frames at most, encoders by 2 to 4 of them; each that waits is a picture in memory.
_MOST_WAITING = 6


class FrameOrder:
    """Puts frames in order once something is wrong, where missing frames can be told; passes them on otherwise.

    Before that the times may be to blame: files are made whose frames have those of their packets.

    Args:
        lost: of the same stream; is told of each frame that is accepted here.
    """

    def __init__(self, lost: LostFrames) -> None:
        self._lost = lost
        self._waiting: list[av.VideoFrame] = []
        self._passed: int | None = None
        self.damaged = False
        """Whether something was wrong so far."""

    def accepts(self, frame: av.VideoFrame) -> bool:
        """Whether a frame has a place: not one that comes too late, or once more instead of another."""
        if frame.pts is None or self._passed is None or not self._lost.is_judged(frame.pts):
            return True
        return not self._lost.is_again(frame.pts) and not (self.damaged and frame.pts <= self._passed)

    def add(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The frames whose turn it is now that this one is there."""
        if frame.pts is None or not self.damaged or not self._lost.is_judged(frame.pts):
            yield from self.rest()
            yield self._pass(frame)
            return
        self._waiting.append(frame)
        self._waiting.sort(key=lambda one: one.pts or 0)
        while self._waiting and (len(self._waiting) > _MOST_WAITING or not self._is_early(self._waiting[0])):
            yield self._pass(self._waiting.pop(0))

    def rest(self) -> Iterator[av.VideoFrame]:
        """Those that still wait, when no frame follows."""
        while self._waiting:
            yield self._pass(self._waiting.pop(0))

    def _is_early(self, frame: av.VideoFrame) -> bool:
        return frame.pts is not None and self._lost.is_due_between(self._passed, frame.pts)

    def _pass(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.pts is not None:
            self._passed = frame.pts if self._passed is None else max(self._passed, frame.pts)
        return frame
