"""What the decoder and its parent say to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from birefnet_batch.counted import Note
from birefnet_batch.video.info import Keyframe


@dataclass(frozen=True)
class DecodeTask:
    """What to decode: the path as bytes, for any name that a file may have.

    A place given as a number is counted from the video's first frame, and decoding begins there.
    """

    path: bytes
    start: Keyframe | int
    stop: Keyframe | int | None
    corrupt: str = "conceal"
    """What is done with frames that are decoded in part: conceal, drop or fail."""
    deinterlace: str = "auto"
    """Which frames are deinterlaced: auto (those that are marked), on (all) or off."""
    wide: bool = False
    """Whether values are handed on with 16 bits instead of 8."""


@dataclass(frozen=True)
class Start:
    """The memory is there; it has so many slots."""

    slots: int


@dataclass(frozen=True)
class Decoded:
    """A frame is in a slot; the parent answers with the slot's number when it is free again."""

    index: int
    slot: int
    pts: int
    duration: int

    def until(self, pts: int) -> Decoded:
        """The same, lasting until the next frame's time."""
        return replace(self, duration=pts - self.pts)


@dataclass(frozen=True)
class DecodeEnd:
    """No frame follows."""

    corrupt_frames: int
    notes: tuple[Note, ...]
