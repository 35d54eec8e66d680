"""The small programs end quietly when nobody reads what they say."""

from __future__ import annotations

import importlib
import os
import signal
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_run_that_is_told_to_stop_while_it_still_loads_ends_quietly_whoever_catches_what_is_raised(number):
    code = f"""
import os, sys, time
from birefnet_batch.__main__ import main

class Told:
    def find_spec(self, name, *_):
        if name == "birefnet_batch.app":
            try:
                os.kill(os.getpid(), {number:d})
                time.sleep(5)
            except BaseException:
                pass

sys.meta_path.insert(0, Told())
sys.argv = ["birefnet-batch", "request.model=nobody", "output=out"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("__main__", "output=out"),
        ("engines_command", "list"),
        ("models.weights_command", "list"),
        ("status_command", "out"),
        ("verify_command", "out"),
    ],
)
def test_on_windows_each_program_says_where_it_runs(monkeypatch, capsys, program, word):
    monkeypatch.setattr(sys, "argv", [program, word])
    main = importlib.import_module(f"birefnet_batch.{program}").main
    monkeypatch.setattr(sys, "platform", "win32")
    # As the scripts do that pip makes of them.
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    monkeypatch.undo()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: birefnet_batch runs on Linux and macOS, not on Windows itself")
    assert said.err.count("\n") == 1
