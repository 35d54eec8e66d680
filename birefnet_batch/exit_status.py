"""The exit statuses of the programs, and which error means which."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from birefnet_batch.errors import BirefnetBatchError, ConfigError
from birefnet_batch.refusals import system_reason
from birefnet_batch.standard_streams import is_of_output
from birefnet_batch.systems import no_system

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def when_told_to_stop(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have a handler called at Ctrl-C, SIGTERM, the end of the terminal and the notices of batch systems."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        # Whoever has nohup ignore a closed terminal, or a shell a batch system's notice, wants the run to go on.
        if number in (signal.SIGTERM, signal.SIGINT) or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A handler for while a program has made nothing yet."""
    # What is raised in the middle of an import may be caught by whoever imports.
    os._exit(INTERRUPTED)


def end_as_at_ctrl_c() -> None:
    """Have SIGTERM raise KeyboardInterrupt, so that what a program has half made is removed."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    # Once: what is made of it must come to its end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def while_read(command: Callable[[], int]) -> int:
    """Run a command that prints, to its end or for as long as somebody reads it: `... | head` is no error of ours.

    Returns:
        Its own status, 1 if its reader went away, or, with a line on standard error, if what it prints cannot be
        written, 2, with a line too, on a system that this package does not run on.
    """
    if reason := no_system():
        print(f"error: {reason}", file=sys.stderr)
        return WRONG_USE
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        if not is_of_output(error):
            raise
        print(f"error: standard output cannot be written: {system_reason(error)}", file=sys.stderr)
        return _unread()


def _unread() -> int:
    # What is still buffered goes nowhere, or Python would complain of it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def status_of(command: Callable[[], int]) -> int:
    """Run a command; what it raises of ours goes to standard error, as one line.

    Returns:
        Its own status, 2 if the words or files that say what to do are wrong (ConfigError), 1 if it failed or nobody
        reads its output any more. birefnet-batch-verify, whose 1 says that videos differ, and birefnet-batch-status do
        without it: they give 2 for every error.
    """
    try:
        return while_read(command)
    except BirefnetBatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE if isinstance(error, ConfigError) else FAILED
