"""AAC whose packets each say what they are, in an ADTS header: MP4 and MOV say it once, for the whole track."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.audio.stream import AudioStream

from birefnet_batch.video.carried import RefusedError


def unchanging(packets: Iterable[av.Packet[AudioStream]]) -> Iterator[av.Packet[AudioStream]]:
    """The packets of AAC, as long as they can all be copied into one track.

    Raises:
        RefusedError: profile, sample rate or channels change on the way.
    """
    first: bytes | None = None
    before: bytes | None = None
    for packet in packets:
        told = None if packet.is_corrupt else _told(bytes(packet))
        if told is not None:
            first = first or told
            # A single header that differs is damage, which costs less than encoding the track anew.
            if told != first and told == before:
                raise RefusedError("audio", ValueError("its sample rate or its channels change on the way"))
            before = told
        yield packet


def _told(packet: bytes) -> bytes | None:
    """Profile, sample rate and channels as the header has them (ISO/IEC 14496-3, 1.A.2.2); None where there is none."""
    if len(packet) < 4 or packet[0] != 0xFF or packet[1] & 0xF6 != 0xF0:
        return None
    return bytes((packet[2] & 0xFD, packet[3] & 0xC0))
