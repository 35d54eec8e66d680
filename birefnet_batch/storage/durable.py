"""Files that are there after the power has failed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CANNOT = frozenset((errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Have an error name the file: what is refused to one that is open does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync(path: Path) -> None:
    """Have the system write a file's content, or a folder's names, to the disk.

    Raises:
        OSError: it cannot be written.
    """
    with named(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Where a file system cannot do that for folders, their names are as safe as it makes them.
            if error.errno not in _CANNOT or not path.is_dir():
                raise
        finally:
            os.close(descriptor)


def rename_durably(source: Path, target: Path) -> None:
    """Give a file its final name on the same file system; there it is whole, whatever happens.

    Raises:
        OSError: the place cannot be written.
    """
    sync(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync(target.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in a folder that is there; whoever looks, and after whatever end, finds all of it or the one before.

    Of several who write it at once the last one's stays.

    Raises:
        OSError: the place cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        unfinished.write_bytes(content)
        rename_durably(unfinished, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            unfinished.unlink()
