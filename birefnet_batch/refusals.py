"""What the system and libraries say of what they refuse, for sentences."""

from __future__ import annotations

import errno
from pathlib import Path

_REMEDIES = {
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose a file system that takes larger files",
    errno.ENOSPC: "make room there (df -h tells of bytes, df -i of files)",
    errno.EDQUOT: "make room there, or have the quota raised",
    errno.EIO: "its disk, or the connection to it, may be failing: see to that first",
}


def system_reason(error: Exception, otherwise: str = "") -> str:
    """The system's reason, in lower case and without the file's name, and what to do.

    Args:
        error: the refusal.
        otherwise: what to do where that depends; else it is always the same.
    """
    return _said(error) + remedy(error, otherwise)


def named_reason(error: Exception, otherwise: str = "") -> str:
    """The same, with the file's name where the error has one."""
    name = error.filename if isinstance(error, OSError) and error.strerror else None
    return f"{_said(error)} ({name}){remedy(error, otherwise)}" if name else system_reason(error, otherwise)


def remedy(error: Exception, otherwise: str = "") -> str:
    """What to do about a refusal, the system's or a library's, to follow the reason; see `system_reason`."""
    if isinstance(error, FileNotFoundError) and str(error.strerror).startswith("No usable temporary directory"):
        return "; set TMPDIR to a folder that can be written"
    advice = _REMEDIES.get(getattr(error, "errno", None) or 0, otherwise)
    return f"; {advice}" if advice else ""


def _said(error: Exception) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)


def one_line(said: object, most: int | None = None) -> str:
    """What a library says, an error or a text, in one line of at most so many characters."""
    return " ".join(str(said).split())[:most]


def refusal(path: Path) -> str | None:
    """Why nothing can be known of a path: a closed folder on the way, a name that is too long, a broken disk.

    `os.path.isfile` and its like keep that to themselves, and those of `Path` raise it.

    Returns:
        The system's reason in lower case; None where the path can be looked at, or nothing is there.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        return system_reason(error)
    return None


def absence(path: Path) -> str:
    """What is said of a path where neither a file nor a folder was found."""
    reason = refusal(path)
    return f"cannot be read: {reason}" if reason else "does not exist"
