"""Children are there before they are needed, and none stays behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from processes import children, left_by_a_killed_parent
from video_clips import Clip, make, read

from birefnet_batch.errors import InputError
from birefnet_batch.video.child_process import Spares
from birefnet_batch.video.reader import FrameReader


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4", Clip(frames=5))


def one(clip: Path) -> int:
    """Read a clip; the number of the process that decoded it."""
    with FrameReader(clip) as reader:
        assert reader.pid is not None
        for frame in reader:
            frame.release()
        return reader.pid


def test_the_next_decoders_are_started_while_one_works_and_end_with_the_last(clip: Path) -> None:
    before = children()
    with Spares() as spares:
        first = one(clip)
        ready = children() - before
        assert len(ready) == 2
        assert first not in ready
        used = {one(clip), one(clip)}
        assert used == ready
        spares.more = False
        left = children() - before
        assert {one(clip), one(clip)} == left
        assert children() == before
        one(clip)
        assert children() == before
        spares.more = True
        one(clip)
    assert children() == before


def test_a_child_that_died_while_it_waited_is_no_fault_of_the_next_video(clip: Path) -> None:
    before = children()
    with Spares():
        one(clip)
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
            # Its end is left for whoever started it to find.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert len(read(clip).numbers) == 5


def test_who_may_allocate_less_gets_a_child_of_its_own(clip: Path) -> None:
    with Spares():
        one(clip)
        with pytest.raises(InputError, match="takes more than 1000 bytes"), FrameReader(clip, memory_bytes=1000):
            pass


def test_what_waits_dies_with_its_parent(clip: Path) -> None:
    script = (
        "import sys, os, time\nfrom pathlib import Path\nfrom birefnet_batch.video.child_process import Spares\n"
        "from birefnet_batch.video.probe import probe\nspares = Spares().__enter__()\nprobe(Path(sys.argv[1]))\n"
        "print(Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text(), flush=True)\ntime.sleep(60)\n"
    )
    assert len(left_by_a_killed_parent(script, clip)) == 2
