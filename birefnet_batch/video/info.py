"""What is known of a video before its frames are read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

BT709 = 1
"""ITU-R BT.709's number in all three tables of ITU-T H.273: primaries, transfer function and matrix."""
BT2020 = 9
"""ITU-R BT.2020's number among the primaries and, not constant luminance, the matrices."""
PQ, HLG = 16, 18
"""The numbers of SMPTE ST 2084's transfer function and of ARIB STD-B67's."""
MOST_PIXELS = 8192 * 8192
"""Of a frame or a picture, 8K in both directions; a file of a few bytes may claim to be larger than any memory."""
LARGE = 4_000_000
"""Pixels of a frame: of larger ones as few as may be are held at once."""

Levels = NDArray[np.unsignedinteger[Any]]
"""A picture's values: uint8, 0 to 255, or uint16, 0 to 65535."""


@dataclass(frozen=True)
class Chapter:
    """A named part of a video; times in seconds on the clock of `Frame.pts`."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True)
class Keyframe:
    """A frame at which a video may be cut."""

    frame: int
    """How many frames are shown before it."""
    pts: int
    """When it is shown, in ticks of `VideoInfo.time_base` on the container's own clock."""
    seek: int | None
    """The container's time to look for it at; None: pictures are exact only when decoded from the beginning."""
    before: tuple[int, int] | None = None
    """`pts` and `seek` of the nearest such keyframe before it that has both; for filters that look back."""

    @property
    def preroll(self) -> Keyframe | None:
        """The keyframe to decode from for the frame before this one; None: the beginning."""
        return None if self.before is None else Keyframe(-1, *self.before)


@dataclass(frozen=True)
class VideoInfo:
    """Facts from the container and the first decoded frame; small and picklable."""

    width: int
    """Pixels as displayed: after rotation metadata is applied."""
    height: int
    """Pixels as displayed."""
    time_base: Fraction
    """Seconds a tick of `Frame.pts`."""
    average_rate: Fraction | None
    """Frames a second, as the container says."""
    frames: int | None
    """How many are shown, as the container says; None where it does not."""
    duration: Fraction | None
    """Seconds, as the container declares."""
    sample_aspect_ratio: Fraction | None
    """Width of a pixel over its height, as displayed; None where it is not known or square."""
    container: str
    """libav's name of its format; of one with several, all of them, separated by commas."""
    codec: str
    """libav's name of it."""
    audio_tracks: int
    subtitle_tracks: int
    origin: Fraction
    """The container's time, in seconds, that is time 0 of `Frame.pts`; audio is shifted by it too."""
    alpha: bool = False
    """Whether its frames have an alpha channel of their own."""
    primaries: int = BT709
    """The colour primaries' number in ITU-T H.273; BT.709's where nothing says."""
    transfer: int = BT709
    """The transfer function's, likewise."""
    bits: int = 8
    """Of a component, as it is coded."""
    peak: float | None = None
    """The brightest light in cd/m2, where the file says it."""
    tags: tuple[tuple[str, str], ...] = ()
    """What is kept of the container's tags, names and values: the title and when it was made, never where."""
    chapters: tuple[Chapter, ...] = ()

    @property
    def hdr(self) -> str | None:
        """The name of a high dynamic range picture's transfer function; None for others."""
        return {PQ: "PQ", HLG: "HLG"}.get(self.transfer)

    def frame_bytes(self, wide: bool) -> int:
        """What a frame takes: (H, W, 3) values of colours and then, with alpha, (H, W) of it.

        Args:
            wide: values of 16 bits instead of 8.
        """
        return self.width * self.height * (4 if self.alpha else 3) * (2 if wide else 1)


def split(memory: NDArray[np.uint8], width: int, height: int, wide: bool) -> tuple[Levels, Levels | None]:
    """A frame's memory as (H, W, 3) colours over black and, where there is more of it, (H, W) alpha; both views."""
    levels: Levels = memory.view(np.uint16) if wide else memory
    size = width * height * 3
    alpha = levels[size:].reshape(height, width) if levels.size > size else None
    return levels[:size].reshape(height, width, 3), alpha
