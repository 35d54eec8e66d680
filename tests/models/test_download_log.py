"""A download is seen: a bar on a terminal, lines in a log."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, environment
from warm import Program

# Without waiting ten seconds for the second line.
FETCH = (
    "import birefnet_batch.storage.fetch_log as log; log._EVERY_S = 0.2\n"
    "from birefnet_batch.models.weights_command import main; main()"
)
WORDS = ("fetch", "mine=some/tuned")


@pytest.fixture
def hub(hub: Hub) -> Hub:
    hub.large["some/tuned@main"] = os.urandom(25 * 1024 * 1024)
    hub.pause_s = 0.03
    return hub


def test_without_a_terminal_lines_say_that_it_begins_and_how_far_it_is(tmp_path: Path, hub: Hub):
    hub.cuts = [15 * 1024 * 1024]
    env = environment(tmp_path / "hf", hub.endpoint)
    said = Program(FETCH, *WORDS, env=env, cwd=tmp_path).wait().stderr
    lines = [line for line in said.splitlines() if line.startswith("fetching")]
    assert lines[0] == f"fetching some/tuned@{COMMIT}, 26.2 MB"
    assert len(lines) >= 2
    for line in lines[1:]:
        assert re.fullmatch(rf"fetching some/tuned@{COMMIT}: [\d.]+ MB of 26\.2 MB, [\d.]+ [kM]B/s", line), line
    assert "%|" not in said

    partial = tmp_path / "weights" / "mine" / "model.safetensors"
    content = partial.read_bytes()
    (partial.parent / f"{hashlib.sha256(content).hexdigest()}.incomplete").write_bytes(content[: 10 * 1024 * 1024])
    partial.unlink()
    said = Program(FETCH, *WORDS, env=env, cwd=tmp_path).wait().stderr
    assert f"fetching some/tuned@{COMMIT}, 26.2 MB, 10.5 MB of it are here\n" in said


def test_on_a_terminal_a_bar_shows_it_and_no_line(tmp_path: Path, hub: Hub):
    ours, theirs = pty.openpty()
    # A new one has no columns, in which no bar is drawn.
    termios.tcsetwinsize(theirs, (24, 100))
    words, env = [sys.executable, "-c", FETCH, *WORDS], environment(tmp_path / "hf", hub.endpoint)
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    process.wait(timeout=120)
    os.close(ours)
    assert b"100%" in shown
    assert b"fetching" not in shown
