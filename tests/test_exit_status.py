"""The small programs end quietly when nobody reads what they say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("lines", [1, 100_000], ids=["in the buffer", "more"])
def test_a_reader_that_has_seen_enough_is_no_traceback(lines: int):
    code = (
        "from birefnet_batch.exit_status import status_of\n"
        f"raise SystemExit(status_of(lambda: [print('a line') for _ in range({lines})] and 0))"
    )
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([sys.executable, "-c", code], stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(theirs)
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_name_that_is_not_utf8_costs_no_report():
    code = (
        "from birefnet_batch.exit_status import while_read\n"
        "raise SystemExit(while_read(lambda: print('o\\udcff: a report') or 0))"
    )
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", code], env=strict, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"o\\udcff: a report\n"
