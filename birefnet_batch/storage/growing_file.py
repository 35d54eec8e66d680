"""A local file that is being fetched, read by other processes as if it were all there: a read waits for its bytes.

Beside `<file>`, which has its full length from the start, stands `<file>.blocks`: a header and a byte a block,
mapped by the one process that writes and by all that read. A reader that waits leaves the number of its block in the
header, so that the writer can fetch that one first. Decoders begin with the head of a file while the rest is on its
way, and get the index at its end by asking for it.

Imports nothing of the package but errors: decoding processes use it.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from birefnet_batch.errors import OutputError

BLOCK = 1 << 20
_HEADER = struct.Struct("<8sqq")
_MAGIC = b"bbblocks"
_FETCHING, _FAILED = 0, 1
_POLL_S = 0.02
_TELL_EVERY_S = 1.0
_keep_alive: list[Callable[[], None]] = []


def while_waiting(call: Callable[[], None]) -> None:
    """Have a function called about once a second while a read of this process waits for bytes."""
    _keep_alive[:] = [call]


class Blocks:
    """Which blocks of a growing file are there.

    Args:
        path: the growing file.
        size: its full length in bytes, to begin; None to look at one that was begun.

    Raises:
        OSError: the files cannot be made or opened.
        OutputError: the file system has no shared maps of files.
    """

    def __init__(self, path: Path | bytes, size: int | None = None) -> None:
        name = os.fsdecode(path) + ".blocks"
        count = 0 if size is None else -(-size // BLOCK)
        with open(name, "r+b" if size is None else "w+b") as file:  # noqa: PTH123  the path may be bytes
            if size is not None:
                file.write(_HEADER.pack(_MAGIC, _FETCHING, -1) + bytes(count))
                file.flush()
            try:
                self._map = mmap.mmap(file.fileno(), 0)
            except OSError as error:
                raise OutputError(
                    f"Files in {Path(name).parent} cannot be mapped into memory: {str(error.strerror).lower()}; give "
                    "storage.scratch=FOLDER on a local disk"
                ) from None
        self.count = len(self._map) - _HEADER.size

    def has(self, block: int) -> bool:
        """Whether a block is there."""
        return bool(self._map[_HEADER.size + block])

    def add(self, block: int) -> None:
        """A block is there."""
        self._map[_HEADER.size + block] = 1

    def first_missing(self) -> int | None:
        """The first block that is not there."""
        found = self._map.find(b"\0", _HEADER.size)
        return None if found < 0 else found - _HEADER.size

    @property
    def wanted(self) -> int | None:
        """The block that a reader waits for."""
        block = _HEADER.unpack_from(self._map)[2]
        return block if 0 <= block < self.count and not self.has(block) else None

    def want(self, block: int) -> None:
        """A reader waits for a block."""
        struct.pack_into("<q", self._map, 16, block)

    @property
    def failed(self) -> bool:
        """Whether the rest will not come."""
        return bool(_HEADER.unpack_from(self._map)[1] == _FAILED)

    def fail(self) -> None:
        """The rest will not come."""
        struct.pack_into("<q", self._map, 8, _FAILED)


class _GrowingFile(io.RawIOBase):
    def __init__(self, path: bytes, blocks: Blocks) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._descriptor).st_size
        self._blocks = blocks
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        block = self._position // BLOCK
        self._wait(block)
        # To the end of what is there: the reader asks again for the rest.
        stop = (block + 1) * BLOCK
        while stop < self._position + wanted and self._blocks.has(stop // BLOCK):
            stop += BLOCK
        content = os.pread(self._descriptor, min(wanted, stop - self._position), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _wait(self, block: int) -> None:
        told = time.monotonic()
        while not self._blocks.has(block):
            if self._blocks.failed:
                raise OSError("it could not be fetched to its end")
            self._blocks.want(block)
            time.sleep(_POLL_S)
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                for call in _keep_alive:
                    call()


def open_file(path: bytes) -> BinaryIO:
    """Open a file for reading, one that is still being fetched too.

    Raises:
        OSError: it cannot be opened; later, from reads: it could not be fetched to its end.
    """
    if not _is_growing(path):
        return open(path, "rb")  # noqa: PTH123  the path is bytes
    return cast(BinaryIO, io.BufferedReader(cast(Any, _GrowingFile(path, Blocks(path))), 1 << 18))


def _is_growing(path: bytes) -> bool:
    """Whether what stands beside a file is ours: a user's own files may have any name, and names have an end."""
    try:
        with open(path + b".blocks", "rb") as file:  # noqa: PTH123  the path is bytes
            return file.read(len(_MAGIC)) == _MAGIC
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
