"""Media files that libav writes: PyAV does not look at what closing them answers, so they are ours to close."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class WrittenFile(io.FileIO):
    """A file for `av.open` to write to, to be closed after its container; `close` raises what no one has told.

    A disk over a network may say only then that there is no room.

    Args:
        path: the file; one that is there is emptied.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        # libav opens a file by this name that it reads while it writes it.
        super().__init__(str(path.absolute()), "w")
        self._error: BaseException | None = None

    def write(self, content: Any) -> int:
        """Write all of it: libav asks nobody how much that was."""
        rest = memoryview(content)
        size = len(rest)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except BaseException as error:
            # PyAV goes on after an interrupt as if all were well, and libav may tell an error as one of its own.
            self._error = error
            raise
        return size

    def close(self) -> None:
        """Close it.

        Raises:
            OSError: something of it was not written.
        """
        error, self._error = self._error, None
        super().close()
        if error is not None:
            raise error
