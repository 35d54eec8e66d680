"""The boxes that MP4 and QuickTime files are made of (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box that begins between two places of a file.

    The last one may end beyond: it promises more than there is. What is no box ends them.
    """
    while start + 8 <= end:
        file.seek(start)
        size, kind, inside = int.from_bytes(file.read(4)), file.read(4), start + 8
        if size == 1:
            size, inside = int.from_bytes(file.read(8)), start + 16
        # 0 means up to the end.
        after = start + size if size else end
        if after < inside:
            return
        yield kind, inside, after
        start = after
