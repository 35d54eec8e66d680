"""The decoder's process as a fork of this one: the same code in a process of its own, without the start of Python."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from multiprocessing.connection import Pipe
from typing import Any

from birefnet_batch.video import child, decode_process
from birefnet_batch.video.child_process import ChildProcess, child_process


class _Process:
    """As much of `subprocess.Popen` as `Child` and `ChildProcess.close` use."""

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


class ForkedProcess(ChildProcess):
    """A decoder's process that is forked; for a program with one thread that forks."""

    def __init__(self, module: str, memory_bytes: int) -> None:
        assert module == decode_process.__name__
        self.memory = os.memfd_create("fuzz")
        ours, theirs = Pipe()
        self.connection: Any = ours
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.dup2(self.complaints.fileno(), 2)
            sys.argv = ["", str(theirs.fileno()), str(self.memory), str(memory_bytes)]
            try:
                child.serve(decode_process.work)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}".encode())
            os._exit(1)
        theirs.close()
        self.process: Any = _Process(pid)


def fork_decoders() -> None:
    """Let FrameReader fork its decoders from now on."""
    child.child_process = ForkedProcess  # type: ignore[assignment]


def start_decoders() -> None:
    """Let FrameReader start its decoders as it does in use."""
    child.child_process = child_process
