"""Progress: plain lines where no terminal is, with counts, rate and time left."""

from __future__ import annotations

import io
import time

import pytest

from birefnet_batch.cluster_view import ClusterView, WorkerView
from birefnet_batch.progress import PlainProgress, make_progress


def test_a_stream_that_is_no_terminal_gets_a_line_per_video() -> None:
    stream = io.StringIO()
    with make_progress(3, stream) as progress:
        assert isinstance(progress, PlainProgress)
        progress.started("file:///a.mp4")
        progress.frames(10)
        progress.ended("file:///a.mp4", "succeeded", 10, 2.0, None)
        progress.ended("file:///b.mp4", "failed", 0, 0.1, "b.mp4 does not exist;\n check the path")
        progress.ended("file:///c.mp4", "skipped", 0, 0.0, None)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1/3 videos, ")
    assert "left" in lines[0]
    assert "succeeded file:///a.mp4 10 frames, 5.0 frames/s" in lines[0]
    assert "2/3 videos, 1 failed" in lines[1]
    assert lines[1].endswith("b.mp4 does not exist; check the path")
    assert lines[2].startswith("[3/3 videos, 1 failed")
    assert "\x1b" not in stream.getvalue()


def test_a_long_video_is_heard_of_while_it_runs() -> None:
    stream = io.StringIO()
    progress = PlainProgress(1, stream, interval_s=0)
    progress.started("a")
    progress.frames(7)
    assert "7 frames so far" in stream.getvalue()


def test_time_left_counts_the_share_of_the_current_video() -> None:
    progress = PlainProgress(2, io.StringIO())
    progress.started("a")
    assert progress.seconds_left is None
    progress.length(10)
    progress.frames(5)
    progress._working_since = time.monotonic() - 10
    # Half a video took 10 s, one and a half are left.
    assert progress.seconds_left == pytest.approx(30, abs=1)


def test_a_terminal_gets_a_bar_and_finished_videos_above_it() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with make_progress(2, stream) as progress:
        progress.started("file:///videos/a[1].mp4")
        progress.frames(5)
        progress.ended("file:///videos/a[1].mp4", "succeeded", 5, 1.0, None)
    assert "1/2 videos" in stream.getvalue()
    assert "succeeded file:///videos/a[1].mp4" in stream.getvalue()


@pytest.mark.parametrize(
    ("terminal", "error"),
    [
        (False, OSError(28, "No space left on device")),
        (False, BrokenPipeError()),
        (False, ValueError("I/O operation on closed file")),
        (True, OSError(5, "Input/output error")),
        (True, ValueError("I/O operation on closed file")),
    ],
)
def test_a_log_that_cannot_be_written_costs_no_video_and_no_run(terminal: bool, error: Exception) -> None:
    class Unwritable(io.StringIO):
        def isatty(self) -> bool:
            return terminal

        def write(self, text: str) -> int:
            raise error

        def flush(self) -> None:
            raise error

    with make_progress(2, Unwritable()) as progress:
        progress.started("a")
        if isinstance(progress, PlainProgress):
            progress._interval_s = 0
        progress.frames(5)
        progress.cluster(view(2.5))
        progress.ended("a", "succeeded", 5, 1.0, None)
    assert (progress.done, progress.frame_count) == (1, 5)


def view(*rates: float) -> ClusterView:
    workers = tuple(WorkerView(f"worker-{number}", f"job-{number}", rate) for number, rate in enumerate(rates))
    return ClusterView((*workers, WorkerView("worker-9", None, 0.0)), waiting=5, retries=2, seconds_left=90.0)


def test_a_cluster_is_shown_with_its_workers_rates_retries_and_queue() -> None:
    stream = io.StringIO()
    progress = PlainProgress(3, stream, interval_s=0)
    progress.cluster(view(2.5, 4.0))
    (line,) = stream.getvalue().splitlines()
    assert "2 of 3 workers busy (2.5 to 4.0 frames/s each), 5 waiting, 2 retries, 1 min 30 s left" in line


def test_nothing_is_said_of_the_time_left_while_it_cannot_be_told() -> None:
    stream = io.StringIO()
    progress = PlainProgress(3, stream, interval_s=0)
    progress.cluster(ClusterView((), waiting=3, retries=0, seconds_left=None))
    (line,) = stream.getvalue().splitlines()
    assert "0 of 0 workers busy, 3 waiting" in line
    assert "left" not in line


def test_a_terminal_shows_a_line_for_each_worker_and_drops_those_that_are_gone() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with make_progress(3, stream) as progress:
        progress.cluster(view(2.5, 4.0))
        progress._bars.refresh()  # type: ignore[attr-defined]
        progress.cluster(view(3.5))
        progress._bars.refresh()  # type: ignore[attr-defined]
        last = stream.getvalue().rpartition("worker-0")[2]
    assert "worker-1 job-1" in stream.getvalue()
    assert "3.5 frames/s" in last
    assert "worker-1" not in last
