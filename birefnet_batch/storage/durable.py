"""Files that are there after the power has failed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_CANNOT = frozenset((errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))


def sync(path: Path) -> None:
    """Have the system write a file's content, or a folder's names, to the disk.

    Raises:
        OSError: it cannot be written.
    """
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
