"""Whether pictures are exact when decoding begins at a keyframe, told from the packet without decoding it.

What a container calls a keyframe may only be a place where a picture becomes good enough after a while.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

# Their keyframes reset the decoder, or are referred past by nothing that is shown after them.
_ALWAYS = frozenset(
    "vp8 vp9 av1 mpeg1video mpeg2video mpeg4 msmpeg4v2 msmpeg4v3 h263 flv1 wmv1 wmv2 vc1 wmv3 theora ffv1".split()
)
_H264_IDR, _H264_SEI, _H264_PICTURES = 5, 6, range(1, 6)
_RECOVERY_POINT = 6
# ITU-T H.265 table 7-1: BLA, IDR and CRA pictures, and room for more of them.
_HEVC_IRAP, _HEVC_PICTURES = range(16, 24), range(32)


class RandomAccess:
    """Judges the keyframes of one stream.

    Args:
        context: the stream's codec, with the headers that its container holds.
    """

    def __init__(self, context: VideoCodecContext) -> None:
        self._codec = context.codec.canonical_name
        self._intra = context.codec.intra_only
        headers = context.extradata or b""
        # avcC and hvcC boxes begin with their version, 1; headers with start codes begin with zeros.
        self._length_size = 0
        if headers[:1] == b"\x01":
            at = {"h264": 4, "hevc": 21}.get(self._codec, 0)
            self._length_size = (headers[at] & 3) + 1 if len(headers) > at else 0

    def is_exact(self, packet: av.Packet[VideoStream]) -> bool:
        """Whether this keyframe and all that is shown after it can be decoded without what is before it."""
        if self._intra or self._codec in _ALWAYS:
            return True
        if self._codec == "h264":
            return self._exact_h264(bytes(packet))
        if self._codec == "hevc":
            kinds = (unit[0] >> 1 & 63 for unit in self._units(bytes(packet)))
            return next((kind in _HEVC_IRAP for kind in kinds if kind in _HEVC_PICTURES), False)
        return False

    def _exact_h264(self, data: bytes) -> bool:
        recovers = False
        for unit in self._units(data):
            kind = unit[0] & 31
            if kind == _H264_SEI:
                recovers = recovers or _recovers_at_once(unit)
            elif kind in _H264_PICTURES:
                return kind == _H264_IDR or recovers
        return False

    def _units(self, data: bytes) -> Iterator[bytes]:
        """The beginnings of a packet's NAL units."""
        if self._length_size:
            at = 0
            while at + self._length_size < len(data):
                length = int.from_bytes(data[at : at + self._length_size], "big")
                at += self._length_size
                yield data[at : at + min(length, 1024)]
                at += length
            return
        at = data.find(b"\x00\x00\x01")
        while at >= 0 and at + 3 < len(data):
            yield data[at + 3 : at + 1027]
            at = data.find(b"\x00\x00\x01", at + 3)


def _recovers_at_once(unit: bytes) -> bool:
    """Whether a SEI unit says that every picture from here on is exact (ITU-T H.264, D.1.8).

    That is a recovery point message with a frame count of 0, an exact match and no broken link.
    """
    at = 1
    while at + 2 < len(unit):
        kind, at = _sei_number(unit, at)
        size, at = _sei_number(unit, at)
        if kind == _RECOVERY_POINT and at < len(unit):
            return unit[at] & 0b11100000 == 0b11000000
        at += size
    return False


def _sei_number(unit: bytes, at: int) -> tuple[int, int]:
    """A number of SEI's kind, bytes of 255 and a last one added up, and the place after it."""
    value = 0
    while at < len(unit) and unit[at] == 255:
        value, at = value + 255, at + 1
    return (value + unit[at], at + 1) if at < len(unit) else (value, at)
