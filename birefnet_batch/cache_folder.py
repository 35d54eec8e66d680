"""What is made once for all of a user's runs has one folder."""

from __future__ import annotations

from pathlib import Path


def cache_folder() -> Path:
    """Where this system keeps such things: `~/.cache/birefnet-batch` on Linux.

    Raises:
        RuntimeError: the user has no home folder.
    """
    from platformdirs import user_cache_path

    # Where there is no home it leaves the ~ of a relative path, which would be made in the current folder.
    return user_cache_path("birefnet-batch").expanduser()
