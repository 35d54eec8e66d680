"""Videos done, frames per second, time left: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from birefnet_batch.cluster_view import ClusterView
from birefnet_batch.refusals import one_line
from birefnet_batch.results import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

# A terminal has few lines, and a cluster many workers.
_WORKER_LINES = 8
# Of a disk that is full, a reader or a terminal that is gone, a stream that was closed: no video is to fail for a log.
_UNWRITABLE = (OSError, ValueError)


class Progress(ABC):
    """Told what happens, shows it, as long as that can be written. `frames` may be called from any thread.

    Args:
        total: how many videos the run has.
        stream: where to show it.
    """

    def __init__(self, total: int, stream: TextIO) -> None:
        self.total = total
        self.stream = stream
        self.done = 0
        self.failed = 0
        self.skipped = 0
        self.frame_count = 0
        self._began = time.monotonic()
        self._working_since: float | None = None
        self._current_frames = 0
        self._current_length: int | None = None
        self._lock = threading.Lock()
        self.view: ClusterView | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*_UNWRITABLE):
            self.stream.flush()

    def started(self, name: str) -> None:
        """A video was begun."""
        if self._working_since is None:
            self._working_since = time.monotonic()
        self._current_frames, self._current_length = 0, None

    def length(self, frames: int | None) -> None:
        """The current video has so many frames, as far as its container says."""
        self._current_length = frames

    def frames(self, count: int) -> None:
        """So many further frames are encoded."""
        with self._lock:
            self.frame_count += count
            self._current_frames += count
        self.show_frames()

    def cluster(self, view: ClusterView) -> None:
        """How the workers of a cluster stand."""
        self.view = view
        self.show_frames()

    def complete_already(self, count: int) -> None:
        """So many videos were complete before the run began."""
        if count:
            self.done += count
            self.skipped += count
            self.show_ended(f"skipped   {count} complete already")

    def ended(self, name: str, status: Outcome, frames: int, seconds: float, error: str | None) -> None:
        """A video ended."""
        self.done += 1
        self.failed += status == "failed"
        self.skipped += status == "skipped"
        self._current_frames, self._current_length = 0, None
        rate = f"{frames} frames, {frames / seconds:.1f} frames/s" if frames and seconds else ""
        reason = one_line(error) if error else ""
        self.show_ended(" ".join(part for part in (f"{status:9}", name, rate, reason) if part))

    @property
    def rate(self) -> float:
        """Frames a second since the first video was begun."""
        elapsed = time.monotonic() - (self._working_since or self._began)
        return self.frame_count / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the videos that were worked on, the share of the current one included; None at first."""
        if self.view is not None:
            return self.view.seconds_left
        share = min(1.0, self._current_frames / self._current_length) if self._current_length else 0.0
        worked = self.done - self.skipped + share
        if not worked or self._working_since is None:
            return None
        return (time.monotonic() - self._working_since) / worked * (self.total - self.done - share)

    def summary(self, brief: bool = False) -> str:
        """One line: videos, rate, the cluster's workers unless they have lines of their own, time left."""
        failed = f", {self.failed} failed" if self.failed else ""
        left = self.seconds_left
        remaining = f", {_duration(left)} left" if left is not None and self.done < self.total else ""
        workers = "" if self.view is None else f", {self.view.brief if brief else self.view}"
        return f"{self.done}/{self.total} videos{failed}, {self.rate:.1f} frames/s{workers}{remaining}"

    @abstractmethod
    def show_frames(self) -> None:
        """Frames were counted."""

    @abstractmethod
    def show_ended(self, line: str) -> None:
        """A video ended; `line` says how."""


class PlainProgress(Progress):
    """A line per video, and one every so often while a video takes long."""

    def __init__(self, total: int, stream: TextIO, interval_s: float = 30.0) -> None:
        super().__init__(total, stream)
        self._interval_s = interval_s
        self._shown = time.monotonic()

    def show_frames(self) -> None:
        """See `Progress`."""
        now = time.monotonic()
        if now - self._shown >= self._interval_s:
            self._shown = now
            self._say(f"{self.summary()}, {self.frame_count} frames so far")

    def show_ended(self, line: str) -> None:
        """See `Progress`."""
        self._shown = time.monotonic()
        self._say(f"[{self.summary()}] {line}")

    def _say(self, line: str) -> None:
        with suppress(*_UNWRITABLE):
            print(line, file=self.stream, flush=True)


class BarProgress(Progress):
    """A bar at the foot of a terminal, finished videos scrolling above it."""

    def __init__(self, total: int, stream: TextIO) -> None:
        super().__init__(total, stream)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bars: RichProgress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[summary]}"),
            console=Console(file=stream),
            transient=True,
        )
        self._task: TaskID = self._bars.add_task("", total=total, summary=self.summary())
        self._workers: dict[str, TaskID] = {}

    def __enter__(self) -> BarProgress:
        with suppress(*_UNWRITABLE):
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*_UNWRITABLE):
            self._bars.stop()
        super().__exit__(kind, error, trace)

    def started(self, name: str) -> None:
        """See `Progress`."""
        super().started(name)
        self._bars.update(self._task, description=_shortened(name))

    def cluster(self, view: ClusterView) -> None:
        """See `Progress`: a line for each worker, the first few."""
        super().cluster(view)
        with suppress(*_UNWRITABLE):
            self._show_workers(view)

    def _show_workers(self, view: ClusterView) -> None:
        shown = view.workers[:_WORKER_LINES]
        names = {worker.name for worker in shown}
        for name in [name for name in self._workers if name not in names]:
            self._bars.remove_task(self._workers.pop(name))
        for worker in shown:
            if worker.name not in self._workers:
                self._workers[worker.name] = self._bars.add_task("", total=None, summary="")
            self._bars.update(
                self._workers[worker.name],
                description=f"{worker.name} {_shortened(worker.job_id or 'idle')}",
                summary=f"{worker.rate:.1f} frames/s" if worker.job_id else "",
            )
        self._bars.update(self._task, description="")

    def show_frames(self) -> None:
        """See `Progress`."""
        self._bars.update(self._task, completed=self.done, summary=self.summary(brief=True))

    def show_ended(self, line: str) -> None:
        """See `Progress`."""
        from rich.markup import escape

        with suppress(*_UNWRITABLE):
            self._bars.console.print(escape(line), highlight=False, soft_wrap=True)
        self.show_frames()


def make_progress(total: int, stream: TextIO | None = None) -> Progress:
    """Bars where the stream is a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    return BarProgress(total, stream) if stream.isatty() else PlainProgress(total, stream)


def _shortened(name: str, limit: int = 32) -> str:
    short = name.rsplit("/", 1)[-1]
    return short if len(short) <= limit else f"{short[: limit - 3]}..."


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
