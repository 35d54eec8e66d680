"""A child's process with what it shares with its parent, and a few of them started before they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# A video's facts are read by one decoder, its frames by another at once after that.
_SPARE = {"birefnet_batch.video.decode_process": 2}
_active: list[Spares] = []


class ChildProcess:
    """A running interpreter, its connection and an anonymous memory file.

    Args:
        module: what `python -m` runs.
        memory_bytes: what it may allocate.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, module: str, memory_bytes: int) -> None:
        self.memory = _anonymous_file()
        ours, theirs = Pipe()
        self.connection: Connection[Any, Any] = ours
        self.complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        with theirs:
            self.process = subprocess.Popen(
                # -P: a file av.py in the working folder must not stand in for the library.
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(self.memory), str(memory_bytes)],
                pass_fds=(theirs.fileno(), self.memory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.complaints,
                # numpy's linear algebra is not used: its threads would cost memory and time at every start.
                env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                # Ctrl-C is for the parent, which stops its children in order.
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process, wait for its end and free what it shared."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.complaints.close()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1


class Spares:
    """A context in which children of a kind that was needed are there at once when the next is needed.

    Otherwise a video waits for three interpreters and their libraries, 0.2 s each, while nothing else is done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[tuple[str, int], list[ChildProcess]] = defaultdict(list)
        self.more = True
        """Whether there is a next video to be ready for."""

    def __enter__(self) -> Spares:
        _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _active.remove(self)
        with self._lock:
            # Another thread's run may be about to take one.
            self.more = False
            for process in [process for waiting in self._waiting.values() for process in waiting]:
                process.close()
            self._waiting.clear()

    def take(self, module: str, memory_bytes: int) -> ChildProcess | None:
        """One that is there, if any; others are started in its place."""
        with self._lock:
            waiting = self._waiting[module, memory_bytes]
            taken = None
            while waiting and taken is None:
                first = waiting.pop(0)
                if first.is_alive:
                    taken = first
                else:
                    first.close()
            # Without them the next video waits, and says why if it cannot be done.
            with suppress(OSError):
                while self.more and len(waiting) < _SPARE.get(module, 1):
                    waiting.append(ChildProcess(module, memory_bytes))
            return taken


def child_process(module: str, memory_bytes: int) -> ChildProcess:
    """A child of the kind, started before or now.

    Raises:
        OSError: it cannot be started.
    """
    taken = _active[-1].take(module, memory_bytes) if _active else None
    return taken or ChildProcess(module, memory_bytes)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("birefnet-batch-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
