"""Standard streams that are closed, or a log that cannot be written: neither costs a run, nor a result its bytes."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def mend_streams() -> None:
    """Open the standard streams that are closed, on nothing, and lose what standard error does not take.

    To be called before a program opens a file. A `sys.stderr` that somebody has replaced is left as it is.
    """
    for number in range(3):
        _keep_from_files(number)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # Of no file print() makes standard output.
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        raw = _Lossy(sys.stderr.fileno(), "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, errors="backslashreplace", line_buffering=True
        )


def _keep_from_files(number: int) -> None:
    """A file that is opened while a standard stream is closed gets its number, and whatever libraries complain of."""
    try:
        os.fstat(number)
    except OSError:
        # The lowest number that is free: this one.
        os.open(os.devnull, os.O_RDWR)
        with suppress(OSError):
            # Or the programs that we start would have the same to fear.
            os.set_inheritable(number, True)


class _Lossy(io.FileIO):
    """A disk that is full, or a terminal or reader that is gone, is no reason to end a run."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
