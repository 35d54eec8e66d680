"""The groups of rows of `scripts/gpu_check`: each in a process of its own, for a limited time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gpu_checks.table import Table

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_groups(
    names: Sequence[str], command: Callable[[str], list[str]], scratch: Path, limit: float, total: float
) -> None:
    """Run groups one after another; what does not end by itself has a row that says so.

    Args:
        names: of the groups.
        command: of a group.
        scratch: the table's folder.
        limit: seconds that a group may take.
        total: seconds that all of them may take.
    """
    ends = time.monotonic() + total
    for name in names:
        left = ends - time.monotonic()
        if left > 0:
            _run_alone(name, command(name), scratch, min(limit, left))
        else:
            Table.of(scratch).add(name, "", "left out", "the time of --total was over", "")


def end_on_signals() -> None:
    """Let Ctrl-C, SIGTERM and a closed terminal raise SystemExit in the main thread, once: what is printed then comes
    out whole."""
    for number in _STOPPING:
        # Whoever started this with nohup means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: object) -> None:
    for other in _STOPPING:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def _run_alone(name: str, command: list[str], scratch: Path, limit: float) -> None:
    # Not a session of its own: what ends all of a session's processes shall end these too.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    ended = "the program was ended"
    try:
        status = process.wait(limit)
        ended = f"its process ended with {status}" if status else ""
    except subprocess.TimeoutExpired:
        ended = f"its processes were ended after {limit:.0f} s"
    finally:
        # The pipeline's row has processes of its own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if ended:
            Table.of(scratch).add(f"the rest of {name}", "", "left out", ended, "")
