"""Standard streams that are closed or cannot be written: neither costs a run, nor a result its bytes."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def mend_streams() -> None:
    """Open the standard streams that are closed, on nothing, and lose what standard error does not take.

    To be called before a program opens a file. A stream that somebody has replaced is left as it is.
    """
    for number in range(3):
        _keep_from_files(number)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # Of no file print() makes standard output.
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _over(_Lossy, sys.stderr, at_once=True)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        # PYTHONUNBUFFERED asks for each line at once, too.
        sys.stdout = _over(_Noting, sys.stdout, at_once=sys.stdout.line_buffering or sys.stdout.write_through)


def lose_output() -> None:
    """Lose what standard output does not take: for a program whose results are in files."""
    if isinstance(sys.stdout, io.TextIOWrapper) and isinstance(_raw(sys.stdout), _Noting):
        sys.stdout = _over(_Lossy, sys.stdout, at_once=sys.stdout.line_buffering)


def is_of_output(error: OSError) -> bool:
    """Whether it was standard output that could not be written, rather than a file; after `mend_streams`."""
    raw = _raw(sys.stdout)
    return isinstance(raw, _Noting) and raw.error is error


def _raw(stream: TextIO) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)


def _over(kind: type[io.FileIO], stream: TextIO, *, at_once: bool) -> io.TextIOWrapper:
    raw = kind(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, errors="backslashreplace", line_buffering=at_once)


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


class _Noting(io.FileIO):
    """Knows which error was its own."""

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise
