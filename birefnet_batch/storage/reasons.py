"""What the system says of a file that it refuses, in one line."""

from __future__ import annotations


def reason_of(error: Exception | None) -> str:
    """The system's reason in lower case, with the file's name where the error has one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}{f' ({error.filename})' if error.filename else ''}"
    return str(error)
