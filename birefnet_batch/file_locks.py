"""Locks on files, which the system frees when their holder dies.

Where the system has none (`flock` answers ENOSYS, as on Lustre that is mounted without it) a file is one that names its
holder. Whether that lives is known on its own machine alone, where asking removes a dead one's.
"""

from __future__ import annotations

import errno
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

# What file systems answer that lock nothing: NFS whose lock service does not run, many in front of a bucket.
_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL))


def file_lock(path: Path, timeout: float = -1) -> FileLock:
    """A lock to be taken at once; of one that is a file nobody is warned, who has nothing to do about it.

    Args:
        path: the lock's file.
        timeout: how many seconds to wait for it at most; for ever where it is less than 0.
    """
    # Anew each time: in Ray's workers a filter that an import adds does not last.
    warnings.filterwarnings("ignore", "flock not supported")
    return FileLock(path, timeout=timeout)


def is_held(path: Path) -> bool:
    """Whether a living process has the lock, or may have it: one of another user cannot be asked."""
    try:
        with file_lock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def lacks_locks(error: OSError) -> bool:
    """Whether that a lock was not taken is because its file system has none, and says so in other words than ENOSYS."""
    # Of a file that cannot be opened the error has the name.
    return error.errno in _NO_LOCKS and error.filename is None
