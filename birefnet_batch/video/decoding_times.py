"""Streams whose container has one time for each packet, that of its decoding, and which libav tells no other of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import av
from av.video.stream import VideoStream

from birefnet_batch.video.packed_frames import PackedFrames

_ONE_TIME = frozenset(("avi", "mxf", "asf"))
_REORDERED = frozenset(("h264", "hevc", "mpeg4"))


def may_lack_times(container: str, stream: VideoStream) -> bool:
    """Whether the packets' times may be those of decoding: they are if they never fall, and of MPEG-4 are packed.

    Args:
        container: libav's name of the container's format.
        stream: one of its streams.
    """
    codec = stream.codec_context
    return container in _ONE_TIME and codec.codec.canonical_name in _REORDERED and bool(codec.has_b_frames)


class DecodingTimes:
    """Gives frames the times of their packets in the order in which they are shown.

    After a frame that was lost without a word the others come one step early.

    Args:
        needed: see `may_lack_times`; otherwise frames keep their times.
        codec: libav's name of the codec.
    """

    def __init__(self, needed: bool, codec: str) -> None:
        self._needed = needed
        self._packed = PackedFrames() if codec == "mpeg4" else None
        self._waiting: deque[int] = deque()
        self._last: int | None = None

    def sent(self, packet: av.Packet[VideoStream] | None) -> None:
        """A packet is given to the decoder; None at the end."""
        if not self._needed or packet is None:
            return
        if packet.pts is None or (self._last is not None and packet.pts <= self._last):
            # It has the times at which frames are shown.
            self._needed = False
            self._waiting.clear()
            return
        self._last = packet.pts
        if self._packed is None or self._packed.sent(packet):
            self._waiting.append(packet.pts)

    def refused(self) -> None:
        """The decoder made nothing of the packet that it was given last."""
        if self._waiting and self._waiting[-1] == self._last:
            self._waiting.pop()

    def timed(self, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """What the decoder gave, each with its time."""
        for frame in frames:
            if self._needed and self._waiting:
                pts = self._waiting.popleft()
                if self._packed is None or self._packed.seen:
                    frame.pts = pts
            yield frame
