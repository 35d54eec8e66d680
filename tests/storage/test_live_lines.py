"""Lines in a bucket, where each write is of all of them, are seen soon, and none is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.storage import live_lines
from birefnet_batch.storage.live_lines import LiveLines
from birefnet_batch.storage.local_store import LocalStore


class Bucket:
    """An output that is no folder."""

    store = None

    def __init__(self, *failing: int) -> None:
        self.seen: list[bytes] = []
        """What was written, in order."""
        self._failing = failing
        self.count = 0

    def write(self, relative: str, content: bytes) -> None:
        self.count += 1
        if self.count in self._failing:
            raise OutputError("the bucket is not reached")
        self.seen.append(content)


def opened(bucket: Any) -> LiveLines:
    return LiveLines(bucket, "runs/one/manifest.jsonl")


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_lines_that_were_held_back_are_seen_though_no_other_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_lines, "_LEAST_INTERVAL_S", 0.5)
    bucket = Bucket()
    lines = opened(bucket)
    for name in ("one", "two", "three"):
        lines.append(name)
    wait_for(lambda: bucket.seen[-1] == b"one\ntwo\nthree\n")
    lines.close()
    assert bucket.seen[0] == b"one\n"


def test_the_end_writes_what_was_held_back_and_nothing_comes_after_it() -> None:
    bucket = Bucket()
    lines = opened(bucket)
    lines.append("one")
    lines.append("two")
    timer = lines._timer
    assert timer is not None
    lines.close()
    timer.join(5)
    assert not timer.is_alive()
    assert bucket.seen == [b"one\n", b"one\ntwo\n"]


def test_lines_that_a_bucket_did_not_take_meanwhile_are_there_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_lines, "_LEAST_INTERVAL_S", 1.0)
    bucket = Bucket(2)
    lines = opened(bucket)
    lines.append("one")
    lines.append("two")
    wait_for(lambda: bucket.count == 2)
    assert bucket.seen == [b"one\n"]
    lines.close()
    assert bucket.seen == [b"one\n", b"one\ntwo\n"]


def test_a_bucket_that_does_not_answer_is_not_asked_for_every_line_and_has_all_at_the_end() -> None:
    bucket = Bucket(1)
    lines = opened(bucket)
    for name in ("one", "two", "three"):
        lines.append(name)
    assert bucket.count == 1
    lines.close()
    assert bucket.seen == [b"one\ntwo\nthree\n"]


def test_a_file_that_cannot_be_opened_is_an_error_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    output: Any = SimpleNamespace(store=LocalStore(tmp_path))
    with pytest.raises(OutputError, match=r"one/manifest.jsonl cannot be written: not a directory"):
        opened(output)


def test_a_bucket_that_does_not_answer_at_the_end_is_told_of() -> None:
    lines = opened(Bucket(1, 2))
    lines.append("one")
    with pytest.raises(OutputError, match="the bucket is not reached"):
        lines.close()
