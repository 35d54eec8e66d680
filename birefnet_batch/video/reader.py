"""Frames of a video, decoded in a process of their own."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from birefnet_batch.counted import Note
from birefnet_batch.video.child import MEMORY_BYTES, Child
from birefnet_batch.video.info import Keyframe, Levels, VideoInfo, split
from birefnet_batch.video.messages import Decoded, DecodeEnd, DecodeTask, Start


@dataclass(frozen=True)
class Frame:
    """One frame in presentation order."""

    index: int
    """Counted from the video's first frame, whatever the segment."""
    pts: int
    """Presentation time in ticks of the video's time base; strictly increasing."""
    duration: int
    """Ticks until the next frame; of the last one, its own."""
    image: Levels
    """(H, W, 3) RGB, a view into shared memory that is valid until `release`."""
    release: Callable[[], None]
    """Give the memory back to the decoder; it waits when it has none."""
    alpha: Levels | None = None
    """(H, W), likewise: the source's own, where it has any; the image is then over black."""


class FrameReader:
    """Decodes a range of a video's frames; a context and an iterator.

    Args:
        path: the file.
        start: the first frame: a keyframe, or how many frames are shown before it.
        stop: the frame after the last one, likewise; None reads to the end.
        slots: how many frames may be held unreleased, two at least.
        timeout_s: seconds that one frame may take.
        memory_bytes: what the decoding process may allocate.
        corrupt: what is done with frames that are decoded in part: conceal, drop or fail.
        deinterlace: which frames are deinterlaced: auto (those that are marked), on (all) or off.
        wide: read uint16, 0 to 65535, instead of uint8, 0 to 255.
    """

    info: VideoInfo
    """Known within the context."""

    def __init__(
        self,
        path: Path,
        *,
        start: Keyframe | int = 0,
        stop: Keyframe | int | None = None,
        slots: int = 4,
        timeout_s: float = 60.0,
        memory_bytes: int = MEMORY_BYTES,
        corrupt: str = "conceal",
        deinterlace: str = "auto",
        wide: bool = False,
    ) -> None:
        self._task = DecodeTask(os.fsencode(path.absolute()), start, stop, corrupt, deinterlace, wide)
        self._memory_bytes = memory_bytes
        self._path = path
        self._slots = max(2, slots)
        self._timeout_s = timeout_s
        self._child: Child | None = None
        self._memory: mmap.mmap | None = None
        self.corrupt_frames = 0
        """How many frames of the range could not be decoded, or only in part; known when the frames are at an end."""
        self.notes: list[Note] = []
        """What was done to the frames, likewise."""

    def __enter__(self) -> FrameReader:
        """Start the decoder and read the video's facts.

        Raises:
            InputError: it is no video, or has no frames.
            DecoderCrashError: the decoder died or did not answer.
        """
        self._child = Child(
            "birefnet_batch.video.decode_process", self._path, self._task, self._timeout_s, self._memory_bytes
        )
        try:
            self.info = self._child.receive()
            size = self._slots * self.info.frame_bytes(self._task.wide)
            try:
                os.ftruncate(self._child.memory, size)
                self._memory = mmap.mmap(self._child.memory, size)
            except OSError as error:
                # It is a file, if one without a name.
                name = f"the memory of {size} bytes for frames of {self._path}"
                raise OSError(error.errno, error.strerror, name) from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames.

        Raises:
            InputError: at the end, when the file has fewer frames than it declares or too many broken ones.
            DecoderCrashError: the decoder died or did not answer.
        """
        assert self._child is not None
        assert self._memory is not None
        child, size = self._child, self.info.frame_bytes(self._task.wide)
        child.send(Start(self._slots))
        while True:
            message = child.receive()
            if isinstance(message, DecodeEnd):
                self.corrupt_frames = message.corrupt_frames
                self.notes += message.notes
                return
            assert isinstance(message, Decoded)
            slot = message.slot
            memory = np.frombuffer(self._memory, np.uint8, size, slot * size)
            image, alpha = split(memory, self.info.width, self.info.height, self._task.wide)
            release = partial(_release, child, slot, {slot})
            yield Frame(message.index, message.pts, message.duration, image, release, alpha)

    @property
    def pid(self) -> int | None:
        """The decoder's process; None when there is none."""
        return None if self._child is None else self._child.pid

    def stop(self) -> None:
        """Kill the decoder: whoever waits for a frame gets a DecoderCrashError. Safe from any thread."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """Stop the decoder and free its memory; frames that are still held keep theirs."""
        if self._child is not None:
            self._child.close()
            self._child = None
        # Not closed by hand: a frame that somebody still holds is a view into it.
        self._memory = None


def _release(child: Child, slot: int, held: set[int]) -> None:
    # Twice given back, a slot would hold two frames at once.
    with suppress(KeyError):
        held.remove(slot)
        child.send(slot)
