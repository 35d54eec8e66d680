"""A file whose reader is heard of while it reads on."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO


class FollowedFile:
    """What libav needs of a file to read; a track may have nothing to say for gigabytes of the others.

    Args:
        file: open for reading.
        on_read: called when bytes are read that lie farther on than all before: a reader that a broken file leads in
            circles is not heard of for ever.
    """

    def __init__(self, file: BinaryIO, on_read: Callable[[], None]) -> None:
        self._file = file
        self._on_read = on_read
        self._farthest = 0
        self.name = file.name
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size` of them."""
        content = self._file.read(size)
        at = self._file.tell()
        if at > self._farthest:
            self._farthest = at
            self._on_read()
        return content
