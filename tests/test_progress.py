"""Progress: plain lines where no terminal is, with counts, rate and time left."""

from __future__ import annotations

import io
import time

import pytest

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
