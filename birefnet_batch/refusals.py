"""What the system says of a file or folder that it refuses."""

from __future__ import annotations

from pathlib import Path


def system_reason(error: OSError) -> str:
    """The system's reason, in lower case and without the file's name."""
    return (error.strerror or str(error)).lower()


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
