"""What comes beside a decoded frame, of kinds that PyAV knows and of newer ones."""

from __future__ import annotations

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
