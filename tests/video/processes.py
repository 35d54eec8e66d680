"""This test's child processes, and whether those of a killed parent end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


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


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
