"""Frames that a decoder leaves out without a word: after a damaged keyframe, or where what they refer to is gone.

A packet of a file whose samples are pictures gives one frame of the same time. Which are missing can be told where that
holds: in MP4, QuickTime, Matroska and WebM, for the codecs below, and not where pictures are coded as two fields, whose
halves may be packets of their own.
"""

from __future__ import annotations

from collections import Counter

import av
from av.video.stream import VideoStream

_CONTAINERS = frozenset(("mov", "matroska"))
_CODECS = frozenset(("h264", "hevc", "av1", "vp8", "vp9", "prores"))


class LostFrames:
    """Compares what a decoder was sent with what it gave.

    Args:
        container: libav's name of the container's format.
        codec: libav's name of the codec.
    """

    def __init__(self, container: str, codec: str) -> None:
        self._codec = codec
        self.told = codec in _CODECS and bool(_CONTAINERS & set(container.split(",")))
        """Whether missing frames can be told."""
        self._due: Counter[int] = Counter()
        self._from: int | None = None
        self._last: int | None = None

    def sent(self, packet: av.Packet[VideoStream]) -> bool:
        """A packet is given to the decoder; whether its frame will be missed."""
        if not self.told or packet.pts is None or packet.is_discard:
            return False
        if self._from is None and packet.is_keyframe:
            self._from = packet.pts
        # What comes after the first keyframe and is shown before it refers to pictures that the file does not have.
        if (self._from is None or packet.pts >= self._from) and not _is_hidden(self._codec, packet):
            self._due[packet.pts] += 1
        return True

    def got(self, frame: av.VideoFrame) -> None:
        """The decoder gave a frame."""
        if frame.pts is None or frame.interlaced_frame:
            self.told = False
            return
        self._last = frame.pts if self._last is None else max(self._last, frame.pts)
        if self._due[frame.pts] <= 1:
            del self._due[frame.pts]
        else:
            self._due[frame.pts] -= 1

    def is_judged(self, pts: int) -> bool:
        """Whether a frame of that time is among those of which it can be told whether they are missing."""
        return self.told and self._from is not None and pts >= self._from

    def is_again(self, pts: int) -> bool:
        """Whether the decoder gave what it was sent for that time already, and has not given what is before it."""
        return self._last is not None and pts <= self._last and not self._due[pts] and self.is_due_between(None, pts)

    def is_due_between(self, after: int | None, before: int) -> bool:
        """Whether a frame of a time between the two was not given yet."""
        return any(at < before and (after is None or at > after) for at in self._due)

    def count(self, ended: bool, start: int | None, stop: int | None) -> int:
        """How many frames are missing so far.

        Args:
            ended: nothing more will come; otherwise the decoder may still hold those after the last one that it gave.
            start: the time before which they are another's to count.
            stop: the time from which on they are.
        """
        if not self.told or self._last is None:
            return 0
        ends = [end for end in (None if ended else self._last, stop) if end is not None]
        ours = {at: count for at, count in self._due.items() if start is None or at >= start}
        return sum(count for at, count in ours.items() if all(at < end for end in ends))


def _is_hidden(codec: str, packet: av.Packet[VideoStream]) -> bool:
    """Whether a packet is a picture for reference alone (RFC 6386, section 9.1; VP9's bitstream, section 6.2)."""
    if codec not in ("vp8", "vp9"):
        return False
    coded = bytes(packet)
    if codec == "vp8":
        return not coded[0] >> 4 & 1
    # Several frames in one packet end in an index of them; one of them is shown.
    if coded[-1] >> 5 == 0b110 or coded[0] >> 6 != 0b10:
        return False
    reserved = coded[0] >> 4 & 0b11 == 0b11
    shows_existing, shown = (coded[0] >> place & 1 for place in ((2, 0) if reserved else (3, 1)))
    return not (shows_existing or shown)
