"""MPEG-4 in AVI as DivX and XviD pack it: a picture and the one shown before it in one packet, then an empty one."""

from __future__ import annotations

import av
from av.video.stream import VideoStream

# ISO/IEC 14496-2, section 6.3.5: what begins each picture.
_PICTURE = b"\x00\x00\x01\xb6"
# In bytes, as libav's decoder tells it.
_LONGEST_EMPTY = 19


class PackedFrames:
    """Follows the packets of one stream."""

    def __init__(self) -> None:
        self.seen = False
        """Whether packets are packed, so that frames have the times of others."""
        self._waiting = False

    def sent(self, packet: av.Packet[VideoStream]) -> bool:
        """A packet is given to the decoder; whether a frame comes of it: of an empty one only if another was packed."""
        content = bytes(packet)
        empty = len(content) <= _LONGEST_EMPTY
        gives = self._waiting or not empty
        packed = content.count(_PICTURE) > 1
        self.seen = self.seen or packed
        # A picture that comes meanwhile takes the place of the one that waited.
        self._waiting = packed or (self._waiting and not empty)
        return gives
