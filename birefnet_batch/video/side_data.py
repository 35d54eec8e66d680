"""What comes beside a decoded frame, of kinds that PyAV knows and of newer ones."""

from __future__ import annotations

import struct
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from numpy.typing import NDArray


def _unknown(kind: type[Type], value: int) -> Type:
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNKNOWN_{value}", value  # type: ignore[assignment]
    return member


# PyAV 18 lists a frame's side data by an enumeration that ends before libav's own: a photo's EXIF data or a spatial
# video's views, which nobody asked for, raised ValueError for the display matrix beside them.
Type._missing_ = classmethod(_unknown)  # type: ignore[assignment]


def display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """Return the nine numbers of the frame's display matrix, row by row, in fixed point, if it has one."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return None if matrix is None else np.frombuffer(memoryview(cast(Buffer, matrix)), np.int32)[:9]


def peak_light(frame: av.VideoFrame) -> float | None:
    """Return the brightest light of the video, in cd/m2, as its metadata say it.

    That is the maximum content light level (CTA-861.3), else the peak of the display that it was mastered on
    (SMPTE ST 2086); None where there is neither.
    """
    level = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if level is not None:
        (content,) = struct.unpack_from("=I", memoryview(cast(Buffer, level)))
        if content:
            return float(content)
    mastered = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if mastered is not None:
        # libav's structure: eight rationals of colours, the least and the most luminance, and whether these are known.
        numerator, denominator, _, known = struct.unpack_from("=iiii", memoryview(cast(Buffer, mastered)), 72)
        if known and denominator > 0 and numerator > 0:
            return float(numerator / denominator)
    return None
