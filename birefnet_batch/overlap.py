"""Stages of a pipeline that overlap: threads joined by bounded channels, stopped as one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Cancelled(Exception):
    """Another stage failed or the work was given up; this one ends quietly."""


class Channel(Generic[Item]):
    """A bounded first-in first-out queue between two stages.

    Unlike `queue.Queue` it can be cancelled: whoever waits on either side wakes and raises `Cancelled`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._closed = False
        self._cancelled = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        """Append an item, waiting for room."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._cancelled)
            if self._cancelled:
                raise Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no item follows."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Wake everybody who waits and drop what is queued."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed or self._cancelled)
                if self._cancelled:
                    raise Cancelled
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Stages:
    """Threads that stand or fall together.

    As a context: leaving it normally waits for every stage and raises the first error of any; leaving it by an
    exception cancels the channels and calls `on_cancel` first, so that no stage stays blocked. Of an interrupt that is
    all that is told: what it is sent with may have ended a stage's process first.
    """

    def __init__(self, on_cancel: Callable[[], None] = lambda: None) -> None:
        self._on_cancel = on_cancel
        self._channels: list[Channel[Any]] = []
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def channel(self, size: int) -> Channel[Any]:
        """A channel that is cancelled with the stages."""
        channel: Channel[Any] = Channel(size)
        self._channels.append(channel)
        return channel

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run a stage in its own thread."""

        def guarded() -> None:
            try:
                work()
            except Cancelled:
                pass
            except BaseException as error:
                self.fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def fail(self, error: BaseException) -> None:
        """Remember the first error and stop every stage."""
        with self._lock:
            if self._error is None:
                self._error = error
        for channel in self._channels:
            channel.cancel()
        self._on_cancel()

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self.fail(error)
        for thread in self._threads:
            thread.join()
        interrupted = error is not None and not isinstance(error, Exception)
        if self._error is not None and self._error is not error and not interrupted:
            raise self._error


class Clock:
    """Seconds that each stage was busy."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, items: Iterator[Item]) -> Iterator[Item]:
        """The items, the time of producing each one counted for `name`."""
        while True:
            started = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.add(name, time.perf_counter() - started)
            yield item

    def add(self, name: str, seconds: float) -> None:
        """Count seconds for one stage; each stage is timed by one thread only."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
