"""One builder of one engine on a machine; the others see who it is and wait."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from birefnet_batch.file_locks import file_lock

_log = logging.getLogger(__name__)
_POLL_S = 0.2
_TELL_EVERY_S = 30.0


@contextmanager
def build_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`, waiting for whoever has it; the system frees a dead holder's.

    Args:
        path: the lock's file; who holds it and since when is written beside it.
        what: what is to be built, for the log and for those who wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = file_lock(path)
    told = None
    while True:
        try:
            lock.acquire(timeout=_POLL_S)
            break
        except Timeout:
            now = time.monotonic()
            if told is None or now - told >= _TELL_EVERY_S:
                _log.info("waiting: %s", holder(path) or f"another process has the lock of the {what}")
                told = now
    facts = path.with_suffix(".json")
    mine = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    try:
        facts.write_text(json.dumps(mine), "utf-8")
        yield
    finally:
        with suppress(OSError):
            facts.unlink()
        lock.release()


def holder(path: Path) -> str | None:
    """Who holds the lock, for what and how long, as a sentence; None where nobody wrote it down."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        age = time.time() - facts["since"]
        # Earlier versions did not say what.
        what = f"the {facts['what']}" if "what" in facts else "it"
        return f"process {facts['pid']} on {facts['host']} has been building {what} for {age:.0f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return None
