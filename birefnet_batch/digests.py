"""Digests of files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Like `file_sha256`, computed again only when the file's size or time of change is another one.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    return _known(path, stat.st_size, stat.st_mtime_ns)


@cache
def _known(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)
