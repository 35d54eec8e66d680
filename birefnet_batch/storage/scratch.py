"""Folders for work in progress: locked by whoever uses them, removed when nobody does any more."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_RUN_LOCK = "run.lock"


class Scratch:
    """A run's folder `<parent>/<run id>` on one file system.

    Every process that works there holds a lock of its own in it; the system frees a dead process's locks. A folder
    of which all locks are free belongs to a dead run.

    Args:
        parent: the folder that holds the runs' folders.
        run_id: names this run's.
    """

    def __init__(self, parent: Path, run_id: str) -> None:
        self.path = parent / run_id
        self._lock: FileLock | None = None

    def own(self) -> None:
        """Make the folder for the run's own process, and remove those of dead runs.

        Raises:
            OSError: it cannot be written.
        """
        self._open(_RUN_LOCK)
        _remove_abandoned(self.path)

    def share(self) -> None:
        """Make sure that the folder is there, for a worker of the run, on whatever machine; nothing is removed.

        Raises:
            OSError: it cannot be written.
        """
        self._open(f"worker-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.lock")

    def close(self) -> None:
        """Remove the folder, unless another process of the run works there."""
        lock = self._lock
        if lock is None:
            return
        self._lock = None
        owner = Path(lock.lock_file).name == _RUN_LOCK
        if not owner:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
        # The run outlives its workers: what they left is its to remove.
        if owner or not list(self.path.glob("*.lock")):
            shutil.rmtree(self.path, ignore_errors=True)
        if owner:
            lock.release()
        # It stays while another run works there, or when it is a folder of the user's own that has more in it.
        with suppress(OSError):
            self.path.parent.rmdir()

    def _open(self, name: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / name, timeout=0)
        self._lock.acquire()


def _remove_abandoned(own: Path) -> None:
    for entry in own.parent.iterdir():
        if entry != own and _is_abandoned(entry):
            shutil.rmtree(entry, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder is a run's scratch folder and all processes that worked there are gone."""
    locks = list(folder.glob("*.lock"))
    try:
        for path in locks:
            with FileLock(path, timeout=0):
                pass
    except (Timeout, OSError):
        return False
    return bool(locks)
