"""What a worker is at: written by its stages, read by the driver's questions and the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.executors.messages import Call


class StoppedError(BirefnetBatchError):
    """The run is being stopped."""


class Board:
    """What the worker is at; written by its stages' threads, read by the driver's questions.

    Args:
        made: told of further frames as they are made; not of those that a segment which is done again makes anew.
    """

    def __init__(self, made: Callable[[int], None]) -> None:
        self.call: Call | None = None
        self.expected: int | None = None
        self.count = 0
        self.opening_s = 0.0
        """Of the call's seconds those that engines took to open."""
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._before, self._began = 0, 0.0
        self._tell = made
        self._most = 0
        """The highest count so far."""

    def begin(self, call: Call) -> None:
        """A call is worked on."""
        self.expected, self.opening_s = None, 0.0
        self._before, self._began = self.count, time.perf_counter()
        self._most = self.count
        # Last, for the driver's questions are answered meanwhile.
        self.call = call

    @property
    def made(self) -> int:
        """Frames since the call was begun."""
        return self.count - self._before

    @property
    def seconds(self) -> float:
        """Since the call was begun, without opening engines."""
        return time.perf_counter() - self._began - self.opening_s

    def length(self, frames: int | None) -> None:
        """See `Observer`."""
        self.expected = frames

    def frames(self, count: int) -> None:
        """See `Observer`."""
        with self._lock:
            self.count += count
            new = self.count - self._most
            self._most = max(self._most, self.count)
        if new > 0:
            self._tell(new)
        if self.stop.is_set():
            raise StoppedError("the run is being stopped")
