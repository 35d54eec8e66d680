"""A text file that grows while a run goes on, to be read at any time: appended to on a disk, rewritten in a bucket."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from io import FileIO

from birefnet_batch.errors import BirefnetBatchError, OutputError
from birefnet_batch.refusals import named_reason
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.storage.output import Output

_LEAST_INTERVAL_S = 10.0
# Of the time between two writes to a bucket, the share that the writing may take.
_SHARE = 0.05


class LiveLines:
    """Lines that others see soon after they were appended, and all of them once it is closed.

    A disk that is full or a bucket that does not answer ends no run: lines wait until they can be written.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, output: Output, relative: str) -> None:
        self._output = output
        self._relative = relative
        self._file: FileIO | None = None
        self._waiting = bytearray()
        self._lines: list[str] = []
        self._next = 0.0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        if isinstance(output.store, LocalStore):
            path = output.store.root / relative
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("ab", buffering=0)
            except OSError as error:
                raise OutputError(f"{path} cannot be written: {named_reason(error)}") from None

    def append(self, line: str) -> None:
        """Add one line, without its end."""
        if self._file is not None:
            self._waiting += f"{line}\n".encode("utf-8", "replace")
            # Python's own buffer forgets what a full disk did not take; this is tried again with the next line.
            with suppress(OSError):
                self._flush(self._file)
            return
        with self._lock:
            self._lines.append(line + "\n")
            wait_s = self._next - time.monotonic()
            if wait_s <= 0:
                self._try_to_write()
            elif self._timer is None:
                # The line after this one may come hours later.
                self._timer = threading.Timer(wait_s, self._write_held_back)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Make everything visible.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._file is not None:
            try:
                with self._file:
                    self._flush(self._file)
            except OSError as error:
                raise OutputError(f"{self._relative} cannot be written: {named_reason(error)}") from None
            return
        with self._lock:
            if self._lines:
                self._write()

    def _flush(self, file: FileIO) -> None:
        while self._waiting:
            del self._waiting[: file.write(self._waiting)]

    def _write_held_back(self) -> None:
        with self._lock:
            # None where it was written while this waited.
            if self._timer is not None:
                self._try_to_write()

    def _try_to_write(self) -> None:
        # A line after these or the end writes all of it again; the end says what is wrong.
        with suppress(BirefnetBatchError):
            self._write()

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        started = time.monotonic()
        try:
            self._output.write(self._relative, "".join(self._lines).encode("utf-8", "replace"))
        finally:
            ended = time.monotonic()
            self._next = ended + max(_LEAST_INTERVAL_S, (ended - started) / _SHARE)
