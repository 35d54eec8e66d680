"""The process that reads packets: `python -m birefnet_batch.video.keyframe_process`, started by `find_keyframes`."""

from __future__ import annotations

from array import array
from multiprocessing.connection import Connection
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from birefnet_batch.video.child import Pulse, serve
from birefnet_batch.video.container import discard_others, open_input, pick_video, reason_of
from birefnet_batch.video.decoding_times import may_lack_times
from birefnet_batch.video.info import Keyframe
from birefnet_batch.video.keyframes import FoundKeyframes
from birefnet_batch.video.packed_frames import PackedFrames
from birefnet_batch.video.random_access import RandomAccess
from birefnet_batch.video.timestamps import LONGEST_S

# No codec shows a frame more than 16 places after it was decoded; what moves farther is a clock that was set.
_MOST_REORDERED = 64


def work(connection: Connection[Any, Any], memory: int, path: bytes) -> None:
    """Send `Alive` now and then, and `FoundKeyframes` at the end."""
    with open_input(path) as container:
        stream = pick_video(container, path)
        discard_others(container, stream.index)
        connection.send(_Packets(stream, container.format.name).read(Pulse(connection), container))


class _Packets:
    def __init__(self, stream: VideoStream, form: str) -> None:
        self._stream = stream
        self._may_lack_times = may_lack_times(form, stream)
        self._packed = PackedFrames() if stream.codec_context.codec.canonical_name == "mpeg4" else None
        self._access = RandomAccess(stream.codec_context)
        self._times = array("q")
        self._keys: list[tuple[int, int, bool]] = []
        self._trouble: str | None = None

    def read(self, pulse: Pulse, container: InputContainer) -> FoundKeyframes:
        try:
            for packet in container.demux(self._stream):
                if packet.size and not packet.is_discard:
                    self._add(packet)
                pulse()
        except (av.error.FFmpegError, OSError) as error:
            self._trouble = reason_of(error)
        return self._found()

    def _add(self, packet: av.Packet[VideoStream]) -> None:
        if packet.pts is None:
            self._times.append(0)
            self._trouble = self._trouble or "the source's packets have no times"
            return
        self._times.append(packet.pts)
        if self._packed is not None and self._may_lack_times:
            self._packed.sent(packet)
        if packet.is_keyframe:
            seek = packet.pts if packet.dts is None else min(packet.pts, packet.dts)
            self._keys.append((packet.pts, seek, self._access.is_exact(packet)))

    def _found(self) -> FoundKeyframes:
        decoded = np.frombuffer(self._times, np.int64)
        count = len(decoded)
        shown = np.sort(decoded)
        steps = np.diff(shown)
        longest = LONGEST_S / (self._stream.time_base or 1)
        moved = np.abs(np.argsort(np.argsort(decoded, kind="stable"), kind="stable") - np.arange(count))
        if self._trouble is None and count > 1:
            if steps.min() < 1:
                self._trouble = "several frames of the source have the same time"
            elif steps.max() > longest or moved.max() > _MOST_REORDERED:
                self._trouble = "the clock of the source jumps"
            elif self._may_lack_times and (self._packed is None or self._packed.seen) and not moved.any():
                self._trouble = "the source has the times at which its frames are decoded, not shown"
        if self._trouble is not None:
            return FoundKeyframes(count, (), self._trouble)
        places = np.searchsorted(shown, [pts for pts, _, _ in self._keys])
        found: list[Keyframe] = []
        before: tuple[int, int] | None = None
        for place, (pts, seek, exact) in sorted(zip(places, self._keys, strict=True), key=lambda item: int(item[0])):
            found.append(Keyframe(int(place), pts, seek if exact else None, before))
            before = (pts, seek) if exact else before
        return FoundKeyframes(count, tuple(found))


if __name__ == "__main__":
    serve(work)
