"""Signals while Ray is started or ended: the program's own handlers say how the program ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Ray sets a handler for SIGTERM that ends the program at once; the program's own drains."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    own = before[signal.SIGTERM]
    try:
        with _heard() as heard:
            yield
    except SystemExit:
        # What Ray's handler raises.
        if callable(own):
            own(signal.SIGTERM, None)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # What it raises is lost where Python lets nothing through, as while it removes objects.
    if signal.SIGTERM in heard and callable(own):
        own(signal.SIGTERM, None)


@contextmanager
def _heard() -> Iterator[set[int]]:
    """The numbers of signals that came, whatever became of them; known at the end. For the main thread."""
    heard: set[int] = set()
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    others = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if others != -1:
        # Somebody's loop waits for them.
        signal.set_wakeup_fd(others, warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        if others == -1:
            signal.set_wakeup_fd(-1)
        with suppress(BlockingIOError):
            heard.update(os.read(reading, 1 << 12))
        os.close(reading)
        os.close(writing)


@contextmanager
def hangups_blocked() -> Iterator[None]:
    """Have what is started meanwhile outlive the terminal, whose end all of its processes are told.

    So are all of a batch system's job, by SIGUSR1 or SIGUSR2, that its time is nearly over. By these processes the run
    drains. The run itself is told when this ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
