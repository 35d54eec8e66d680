"""The decoder's process as a fork of this one: the same code in a process of its own, without the start of Python."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from birefnet_batch.video import decode_process, reader
from birefnet_batch.video.child import MEMORY_BYTES, Child, serve


class _Process:
    """As much of `subprocess.Popen` as `Child` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def kill(self) -> None:
        """End it."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status, negative for a signal."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


class ForkedChild(Child):
    """A child that is forked; for a program with one thread that forks."""

    def __init__(
        self, module: str, subject: Path, task: object, timeout_s: float, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        assert module == decode_process.__name__
        self._subject = subject
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._sending = threading.Lock()
        self.memory = os.memfd_create("fuzz")
        ours, theirs = Pipe()
        self._connection: Any = ours
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.dup2(self._complaints.fileno(), 2)
            sys.argv = ["", str(theirs.fileno()), str(self.memory), str(memory_bytes)]
            try:
                serve(decode_process.work)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
        theirs.close()
        self._process: Any = _Process(pid)
        self.send(task)


def fork_decoders() -> None:
    """Let FrameReader fork its decoders from now on."""
    reader.Child = ForkedChild  # type: ignore[misc]


def start_decoders() -> None:
    """Let FrameReader start its decoders as it does in use."""
    reader.Child = Child  # type: ignore[misc]
