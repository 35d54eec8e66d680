"""Work in a replaceable process, so that a broken file can take down nothing else.

The child is a fresh interpreter started by `subprocess`: that needs no `__main__` guard, works in notebooks and
in Ray actors, and copies no threads. It gets a connection and, for frames, an anonymous memory file; neither has a
name, so nothing stays behind whoever dies. Both ends see the other's death as the end of the connection.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from birefnet_batch import errors
from birefnet_batch.errors import BirefnetBatchError, DecoderCrashError, InputError
from birefnet_batch.storage.growing_file import while_waiting
from birefnet_batch.video.child_process import child_process

MEMORY_BYTES = 4 * 1024**3
"""What a child may allocate unless told otherwise: an 8K video with all its reference frames takes less than 2 GiB."""


class Child:
    """A child process that answers over a connection.

    Args:
        module: what `python -m` runs; its `main` is `serve(...)`.
        subject: the file that it works on, for messages.
        task: sent as the first message; picklable.
        timeout_s: seconds that it may stay silent when an answer is due.
        memory_bytes: what it may allocate; the frames that both ends share are not counted.
    """

    def __init__(
        self, module: str, subject: Path, task: object, timeout_s: float, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._subject = subject
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._sending = threading.Lock()
        self._process = child_process(module, memory_bytes)
        self._connection = self._process.connection
        self.send(task)

    def send(self, message: object) -> None:
        """Send a message; one to a dead child is lost, and `receive` reports the death."""
        with self._sending, suppress(OSError):
            self._connection.send(message)

    def receive(self) -> Any:
        """The child's next message; `Alive` only restarts the clock, and may ask for more time.

        Raises:
            BirefnetBatchError: the child reported one.
            DecoderCrashError: it died, or stayed silent for longer than it may, and was killed.
        """
        message: object = Alive()
        while isinstance(message, Alive):
            allowed_s = self._timeout_s + message.allow_s
            try:
                if not self._connection.poll(allowed_s):
                    self.kill()
                    raise DecoderCrashError(
                        f"{self._subject} was given up: its process did not answer for {allowed_s:g} s "
                        "(media.decode_timeout_s); the file may be damaged, or the machine too busy"
                    )
                message = self._connection.recv()
            except (EOFError, OSError):
                raise DecoderCrashError(
                    f"{self._subject} was given up: its process {self._death()}; the file may be damaged"
                ) from None
        if isinstance(message, Failure):
            raise message.to_error()
        if isinstance(message, OutOfMemory):
            raise InputError(
                f"{self._subject} takes more than {self._memory_bytes} bytes of memory to decode "
                "(media.decode_memory_bytes); if it is not damaged, raise the setting or scale the video down"
            )
        return message

    def kill(self) -> None:
        """End the process at once; safe from any thread."""
        self._process.process.kill()

    def close(self) -> None:
        """End the process, wait for its end and free what it shared."""
        self._process.close()

    @property
    def memory(self) -> int:
        """The descriptor of the memory file."""
        return self._process.memory

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.process.pid

    def _death(self) -> str:
        code = self._process.process.wait()
        if code < 0:
            try:
                return f"was killed by signal {signal.Signals(-code).name}"
            except ValueError:
                return f"was killed by signal {-code}"
        self._process.complaints.seek(0)
        lines = self._process.complaints.read().decode("utf-8", "replace").strip().splitlines()
        return f"ended with status {code}{f' ({lines[-1][:200]})' if lines else ''}"


class Alive:
    """Sent by a child now and then during work that takes long, so that silence means trouble.

    Args:
        allow_s: seconds that the child may be silent from now on, beside those that it always may.
    """

    def __init__(self, allow_s: float = 0.0) -> None:
        self.allow_s = allow_s


class Pulse:
    """Tells the parent that work goes on: about once a second, however often it is called.

    Args:
        connection: to the parent.
        every_s: seconds between two messages, at least.
    """

    def __init__(self, connection: Connection[Any, Any], every_s: float = 1.0) -> None:
        self._connection = connection
        self._every_s = every_s
        self._told = time.monotonic()

    def __call__(self) -> None:
        """Something was done."""
        if time.monotonic() - self._told >= self._every_s:
            self.allow(0.0)

    def allow(self, seconds: float) -> None:
        """What is done next cannot be heard of and may take so many seconds more than silence may last."""
        self._told = time.monotonic()
        self._connection.send(Alive(seconds))


class OutOfMemory:
    """A child's last message when it may not allocate what it needs."""


class Failure:
    """A child's error on its way to the parent."""

    def __init__(self, error: BirefnetBatchError) -> None:
        self.kind = type(error).__name__
        self.message = str(error)

    def to_error(self) -> BirefnetBatchError:
        """The error as the parent raises it."""
        kind: type[BirefnetBatchError] = getattr(errors, self.kind)
        return kind(self.message)


def serve(work: Callable[[Connection[Any, Any], int, Any], None]) -> None:
    """The whole of a child's `main`: take the task from the connection named on the command line and do it.

    Args:
        work: given the connection, the descriptor of the memory file and the task. A BirefnetBatchError that it
            raises is the parent's to raise.
    """
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    # A source that is still being fetched may keep a reader waiting for long.
    while_waiting(lambda: connection.send(Alive()))
    threading.Thread(target=_die_with_the_parent, args=(connection.fileno(),), daemon=True).start()
    try:
        try:
            _bound_memory(int(sys.argv[3]))
            work(connection, int(sys.argv[2]), connection.recv())
        except BirefnetBatchError as error:
            connection.send(Failure(error))
        except MemoryError:
            connection.send(OutOfMemory())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent is gone or wants no more.
        pass
    connection.close()
    # Libraries' clean-up after a broken file can hang or crash, and there is nothing left to lose.
    sys.stderr.flush()
    os._exit(0)


def _bound_memory(count: int) -> None:
    """Refuse further allocations at a bound. Libraries' code and what is shared do not count towards it."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    bound = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


def _die_with_the_parent(descriptor: int) -> None:
    """Not left to the next message: until then a lot of video may be decoded for nobody."""
    poller = select.poll()
    # Asked for nothing, it still reports that the other end is gone.
    poller.register(descriptor, 0)
    poller.poll()
    os._exit(1)
