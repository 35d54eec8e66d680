"""How many of a stream's frames are damaged or missing, each counted where it would be shown; and the others' order."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.video.stream import VideoStream

from birefnet_batch.video.frame_order import FrameOrder
from birefnet_batch.video.lost_frames import LostFrames


class DamageCount:
    """Is told what a decoder is sent and what it gives.

    Args:
        container: libav's name of the container's format.
        codec: libav's name of the codec.
    """

    def __init__(self, container: str, codec: str) -> None:
        self._lost = LostFrames(container, codec)
        self._order = FrameOrder(self._lost)
        self._sent: tuple[int | None, bool] = (None, True)
        self._partial: list[int | None] = []
        self._refused: list[tuple[int | None, bool]] = []
        self._start: int | None = None
        self._stop: int | None = None

    def sent(self, packet: av.Packet[VideoStream] | None) -> None:
        """A packet is given to the decoder; None at the end."""
        # What the decoder says at the end is of a packet that it was given before.
        self._sent = (None, True) if packet is None else (packet.pts, self._lost.sent(packet))

    def refused(self) -> None:
        """The decoder made nothing of it."""
        self._refused.append(self._sent)
        self._order.damaged = True

    def got(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The decoder gave a frame; the frames whose turn it is now, see `FrameOrder`."""
        self._order.damaged = self._order.damaged or frame.is_corrupt
        if not self._order.accepts(frame):
            return
        self._lost.got(frame)
        if frame.is_corrupt:
            self._partial.append(frame.pts)
        yield from self._order.add(frame)

    def rest(self) -> Iterator[av.VideoFrame]:
        """The frames that still wait for their turn, when no frame follows."""
        yield from self._order.rest()

    def within(self, start: int | None, stop: int | None) -> None:
        """What is shown before `start`, or from `stop` on, is another's to count."""
        self._start, self._stop = start, stop

    def count(self, ended: bool) -> int:
        """How many frames could not be decoded so far, or only in part.

        Args:
            ended: nothing more will come.
        """
        refused = [placed for at, placed in self._refused if self._is_ours(at)]
        # Of a packet that was refused the frame is missing too.
        missing = len(refused)
        if self._lost.told:
            missing = refused.count(False) + self._lost.count(ended, self._start, self._stop)
        return sum(self._is_ours(at) for at in self._partial) + missing

    def _is_ours(self, at: int | None) -> bool:
        if at is None:
            return True
        return (self._start is None or at >= self._start) and (self._stop is None or at < self._stop)
