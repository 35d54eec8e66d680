"""Folders for work in progress: locked by whoever uses them, removed when nobody does any more.

Finished segments outlive a run that ends before its jobs have ended: the next run on the same output takes them over.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from birefnet_batch.errors import OutputError
from birefnet_batch.file_locks import file_lock, is_held
from birefnet_batch.refusals import named_reason
from birefnet_batch.run_ids import is_run_id
from birefnet_batch.storage.finished_parts import keep_finished, move_finished

SCRATCH = ".scratch"
"""In an output on a disk, the folder that holds its runs' folders."""
_RUN_LOCK = f"run-{socket.gethostname()}.lock"
_RUN_LOCKS = "run*.lock"
_ALL_LOCKS = "*.lock"
# In a folder that several outputs share, another output's finished segments wait for its next run so long, and nothing
# is removed of a run on another machine at which nothing changed for less.
_KEPT_S = 7 * 24 * 3600.0
# A worker that starts holds its lock so soon after making it; who tried a younger one might take it in between.
_HELD_WITHIN_S = 30.0
# A run that begins takes its lock so soon after making it; one that was killed as it began never does.
_TAKEN_WITHIN_S = 0.5
_log = logging.getLogger(__name__)


class Scratch:
    """A run's folder `<parent>/<run id>` on one file system.

    Every process that works there holds a lock of its own in it; the system frees a dead process's locks. A folder
    of which all locks are free belongs to a dead run; of locks that another machine holds not every file system tells.

    Args:
        parent: the folder that holds the runs' folders.
        run_id: names this run's.
        parts: names the folder of parts in it; what begins with `parts` and is called otherwise is another output's.
        private: whether `parent` is this user's alone, in a folder that all users share.
        given: whether `parent` was named by the user, whose folder stays if it is there already.
    """

    def __init__(
        self, parent: Path, run_id: str, parts: str = "parts", *, private: bool = False, given: bool = False
    ) -> None:
        self.path = parent / run_id
        self.parts = self.path / parts
        """Parts of segments, in a folder for each job."""
        self.over = False
        """Whether all jobs of the run have ended, so that finished segments are of no use any more."""
        self._private = private
        self._kept = given and os.path.exists(parent)  # noqa: PTH110  Path.exists raises where none may look
        self._lock: FileLock | None = None

    def own(self) -> None:
        """Make the folder for the run's own process.

        Raises:
            OSError: it cannot be written.
        """
        self._open(_RUN_LOCK)

    def inherit(self, dead: frozenset[str] = frozenset()) -> None:
        """Take over the finished segments of dead runs, and remove all else that they left.

        For the run's own process, which holds the output.

        Args:
            dead: ids of runs of this output that are known to have died.

        Raises:
            OSError: they cannot be moved.
        """
        for entry in self.path.parent.iterdir():
            # Other folders of a user's scratch space have files that end in .lock too.
            if entry == self.path or not is_run_id(entry.name) or self._may_live_elsewhere(entry):
                continue
            # Runs of other outputs may be at it too.
            with suppress(FileNotFoundError):
                self._take_over(entry, entry.name in dead)

    def share(self) -> None:
        """Make sure that the folder is there, for a worker of the run, on whatever machine.

        What killed workers left on this machine is removed: their own folders, and those of runs that had only workers
        here, which no run's own process would ever see.

        Raises:
            OSError: it cannot be written.
        """
        self._make()
        for entry in self.path.parent.iterdir():
            if entry == self.path or not is_run_id(entry.name):
                continue
            # It may end this moment.
            with suppress(FileNotFoundError):
                locks = list(entry.glob(_ALL_LOCKS))
                if locks and all(map(_is_dead_workers, locks)):
                    shutil.rmtree(entry, ignore_errors=True)
        for lock in filter(_is_dead_workers, list(self.path.glob(_ALL_LOCKS))):
            shutil.rmtree(self._folder_of(lock), ignore_errors=True)
            lock.unlink(missing_ok=True)
        self._open(f"worker-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.lock")

    @property
    def worker_folder(self) -> Path:
        """This worker's own folder in it; when it is killed, the next worker of the run on its machine removes it."""
        assert self._lock is not None
        return self._folder_of(Path(self._lock.lock_file))

    def close(self) -> None:
        """Remove the folder, unless another process of the run works there or finished segments are of use later.

        What a place refuses that is gone or broken is logged: an error would stand before what ended the run.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            self._leave(lock)
        except OSError as error:
            _log.warning("scratch space may stay in %s: %s", self.path, named_reason(error))
        if not self._kept:
            # It stays while another run works there.
            with suppress(OSError):
                self.path.parent.rmdir()

    def _leave(self, lock: FileLock) -> None:
        kept, owner = 0, Path(lock.lock_file).name == _RUN_LOCK
        try:
            # The run outlives its workers: what they left is its to remove, unless somebody has done that already.
            if owner and self.path.is_dir():
                if self.over:
                    shutil.rmtree(self.parts, ignore_errors=True)
                kept = self._strip(self.path)
        finally:
            # Before its file is removed: NFS and FUSE leave a file that is open, and so its folder, until it is closed.
            lock.release()
        if kept:
            _log.warning("%d finished segments stay in %s for the next run on this output", kept, self.parts)
            return
        if not owner:
            Path(lock.lock_file).unlink(missing_ok=True)
        if owner or all(map(_is_dead_workers, list(self.path.glob(_ALL_LOCKS)))):
            shutil.rmtree(self.path, ignore_errors=True)

    def _take_over(self, folder: Path, dead: bool) -> None:
        locks = list(folder.glob(_ALL_LOCKS))
        begun = dead or _has_begun(folder)
        if not locks and not (begun and _is_ours(folder)):
            return
        # What is written in a lock stands for the system's (see `file_locks`), and stays when its holder dies.
        held = {lock for lock in locks if not (dead and lock.stat().st_size) and is_held(lock)}
        if not held and not begun:
            time.sleep(_TAKEN_WITHIN_S)
            held = set(filter(is_held, locks))
        runs = {lock for lock in locks if lock.match(_RUN_LOCKS)}
        if (runs or not locks) and not runs & held:
            move_finished(folder / self.parts.name, self.parts)
        if held:
            return
        try:
            if _is_old(folder) or not self._strip(folder, others=True):
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            # Another user's, or on a disk that does not let go of it.
            _log.warning("scratch space of a dead run stays in %s: %s", folder, named_reason(error))

    def _make(self) -> None:
        parent = self.path.parent
        if self._private:
            parent.mkdir(0o700, parents=True, exist_ok=True)
            # Who made it could read what comes into it, whatever its rights.
            if parent.lstat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, "it is another user's")
            parent.chmod(0o700)
        # Others tell by it of which output the run is.
        self.parts.mkdir(parents=True, exist_ok=True)

    def _open(self, name: str) -> None:
        self._make()
        # Who asks whether it is held takes it for a moment.
        self._lock = file_lock(self.path / name, timeout=_HELD_WITHIN_S)
        self._lock.acquire()

    def _folder_of(self, lock: Path) -> Path:
        return self.path / "sources" / lock.stem

    def _may_live_elsewhere(self, folder: Path) -> bool:
        """Whether a folder may be that of a living run on another machine, whatever its locks say here.

        Runs of this output are dead, wherever they were.
        """
        try:
            anothers = any(lock.name not in (_RUN_LOCK, "run.lock") for lock in folder.glob(_RUN_LOCKS))
            return anothers and not (folder / self.parts.name).is_dir() and not _is_old(folder)
        except OSError:
            # Gone, or closed to this user.
            return True

    def _strip(self, folder: Path, others: bool = False) -> int:
        """Remove all from a run's folder but its locks and finished segments, and say how many these are.

        With `others` those of other outputs alone are kept.
        """
        count = 0
        for path in folder.iterdir():
            if path.suffix == ".lock":
                continue
            if path.name.startswith("parts") and (path.name == self.parts.name) != others:
                count += keep_finished(path)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return count


def unwritable(error: Exception) -> OutputError:
    """The error of scratch space that the system, or a library for it, refuses to write to."""
    return OutputError(f"Scratch space cannot be written: {named_reason(error)}")


def is_abandoned(folder: Path) -> bool:
    """Whether the run's own process, one of this kernel, is gone for certain, by its lock in the run's folder.

    Only a disk of this machine's own tells that: of others each container that mounts them may have locks for itself.
    """
    try:
        locks = list(folder.glob(_RUN_LOCKS)) if os.major(folder.stat().st_dev) else []
        return bool(locks) and not any(map(is_held, locks))
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Whether a folder without locks is what is left of a run, and not a user's own, as a copy of `runs/<run id>`."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        # Gone, closed to this user, or no folder.
        return False
    return not names or any(name.startswith("parts") for name in names)


def _has_begun(folder: Path) -> bool:
    """Whether a run's folder is more than that of one which begins this moment, and may not hold its lock yet."""
    old = time.time() - folder.stat().st_mtime > _HELD_WITHIN_S
    return old or not all(path.suffix == ".lock" or path.is_dir() for path in folder.rglob("*"))


def _is_old(folder: Path) -> bool:
    """Whether in a run's folder, and in the folders there, nothing was made or removed for long."""
    changed = max(path.stat().st_mtime for path in (folder, *filter(Path.is_dir, folder.iterdir())))
    return time.time() - changed > _KEPT_S


def _is_dead_workers(lock: Path) -> bool:
    """Whether a lock was that of a worker of this machine which is gone.

    Of other machines' nothing is known: where several see a folder, not every file system tells one the others' locks.
    """
    if not re.fullmatch(rf"worker-{re.escape(socket.gethostname())}-\d+-[0-9a-f]+\.lock", lock.name):
        return False
    try:
        old = time.time() - lock.stat().st_mtime > _HELD_WITHIN_S
    except OSError:
        return False
    return old and not is_held(lock)
