"""Locks on files, which the system frees when their holder dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


def is_held(path: Path) -> bool:
    """Whether a living process has the lock, or may have it: one of another user cannot be asked."""
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
