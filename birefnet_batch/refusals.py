"""What the system and libraries say of what they refuse, for sentences."""

from __future__ import annotations

from pathlib import Path


def system_reason(error: Exception) -> str:
    """The system's reason, in lower case and without the file's name."""
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)


def named_reason(error: Exception) -> str:
    """The system's reason, with the file's name where the error has one."""
    name = error.filename if isinstance(error, OSError) and error.strerror else None
    return f"{system_reason(error)} ({name})" if name else system_reason(error)


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
