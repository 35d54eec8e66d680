"""The folder of a Ray that a run starts for itself, and what is left of the Rays of runs that were killed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from birefnet_batch.file_locks import file_lock
from birefnet_batch.refusals import one_line

_log = logging.getLogger(__name__)
_FOLDER = "birefnet-ray-"
# Ray's sockets lie in it, up to 86 characters below its parent, and a socket's path may have 107, on macOS 103. Batch
# systems, and macOS, give temporary folders with longer names.
LONGEST = 19
"""Characters of the folder's parent."""
_SHORT = Path("/tmp")
_LOCK = "run.lock"
# A folder that is younger may be one whose lock is yet to be made.
_BEGUN_S = 60.0
_WORDS = 400


def own_folder() -> tuple[Path, FileLock]:
    """A new folder for Ray's files, locked; those of dead runs are removed, and what still runs of their Rays ended.

    Raises:
        OSError: no folder for temporary files can be written.
    """
    parent = _parent()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=parent))
    lock = file_lock(folder / _LOCK, timeout=0)
    lock.acquire()
    for other in parent.glob(f"{_FOLDER}*"):
        if other == folder:
            continue
        with suppress(Timeout, OSError):
            if (other / _LOCK).exists():
                with file_lock(other / _LOCK, timeout=0):
                    for process in end_rays(other):
                        _log.info("process %s of a run that was killed was ended", process)
                    shutil.rmtree(other, ignore_errors=True)
            elif time.time() - other.stat().st_mtime > _BEGUN_S and not any(_rays_in(other)):
                # A process that was still starting made it again after it was removed.
                shutil.rmtree(other, ignore_errors=True)
    return folder, lock


def end_rays(folder: Path) -> list[str]:
    """End Ray's own processes that have files of the folder open: by themselves its agents take a minute.

    Returns:
        Their numbers.
    """
    ended = [process.name for process in _rays_in(folder)]
    for process in ended:
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    return ended


def last_words(folder: Path) -> str:
    """What the node process (raylet) of a Ray wrote as it died, in one line; empty where it wrote nothing."""
    try:
        words = (folder / "session_latest" / "logs" / "raylet.err").read_text(errors="replace")
    except OSError:
        return ""
    told, _, _ = words.partition("*** StackTrace")
    return one_line("\n".join(told.splitlines()[:2]), _WORDS)


def _parent() -> Path:
    """The system's temporary folder, or another one where its name is too long for sockets."""
    given = Path(tempfile.gettempdir())
    return _SHORT if len(os.fsencode(given)) > LONGEST and os.access(_SHORT, os.W_OK | os.X_OK) else given


def _rays_in(folder: Path) -> Iterator[Path]:
    """Ray's own processes that have files of the folder open, as far as the system tells of them as Linux does."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.name != str(os.getpid()) and _is_rays(process) and _has_open(process, folder):
                yield process


def _is_rays(process: Path) -> bool:
    # Some give themselves a title, the others are started from the library's folder.
    words = (process / "cmdline").read_bytes()
    return words.startswith(b"ray::") or b"/ray/" in words


def _has_open(process: Path, folder: Path) -> bool:
    return any(entry.readlink().is_relative_to(folder) for entry in (process / "fd").iterdir())
