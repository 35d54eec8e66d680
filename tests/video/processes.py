"""This test's child processes, and whether those of a killed parent end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

# Of a process that ended before its file was opened, and before it was read.
_GONE = (FileNotFoundError, ProcessLookupError)


def children() -> set[int]:
    """Those that the main thread started."""
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def left_by_a_killed_parent(script: str, clip: Path) -> list[int]:
    """Run a script that prints its children's numbers in a line, and kill it then; all of them have ended."""
    with subprocess.Popen([sys.executable, "-c", script, str(clip)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    deadline = time.monotonic() + 10
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if _runs(pid)]
    return pids


def wait_until_it_waits(pid: int) -> None:
    """Until a process does nothing more by itself: it has ended, or all its threads sleep and go on sleeping.

    A thread that only waits for a processor does not sleep, so that the load of the machine does not matter.
    """
    asleep, used, deadline = 0, "", time.monotonic() + 60
    while asleep < 10:
        assert time.monotonic() < deadline, f"process {pid} still works"
        time.sleep(0.02)
        try:
            threads = [_fields(thread) for thread in Path(f"/proc/{pid}/task").iterdir()]
        except _GONE:
            continue
        # Its state, and its processor time in user and kernel mode.
        before, used = used, " ".join(" ".join(fields[11:13]) for fields in threads)
        asleep = asleep + 1 if used == before and all(fields[0] in "SZ" for fields in threads) else 0


def _fields(process: Path) -> list[str]:
    """Those of /proc/PID/stat from the state on."""
    return (process / "stat").read_text().rsplit(")", 1)[1].split()


def _runs(pid: int) -> bool:
    try:
        return _fields(Path(f"/proc/{pid}"))[0] != "Z"
    except _GONE:
        return False
