"""Runs that are killed at random moments and resumed: scripts/kill_and_resume.py, in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_and_resume.py"


@pytest.mark.slow
def test_killed_and_resumed_runs_give_the_bytes_of_an_undisturbed_one_and_do_nothing_twice() -> None:
    words = [sys.executable, str(SCRIPT), "--quick", "--kills", "50", "--videos", "5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50 kills: the same bytes, nothing twice, no stray files" in done.stdout
