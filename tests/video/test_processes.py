"""The decoder's process may die or hang; nothing of it stays behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import children, left_by_a_killed_parent, wait_until_it_waits
from video_clips import Clip, make, number_of, read

from birefnet_batch.errors import DecoderCrashError
from birefnet_batch.executors.retries import may_be_tried_again
from birefnet_batch.video.reader import FrameReader


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4", Clip(frames=200))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _shared_files() -> set[Path]:
    # Locks of other tests' processes come and go; readers have none.
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.")}


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    gc.collect()
    before, files, shared = children(), _open_files(), _shared_files()
    yield
    gc.collect()
    assert children() <= before
    assert _open_files() <= files
    assert _shared_files() == shared


def _child(reader: FrameReader) -> int:
    assert reader.pid is not None
    return reader.pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_decoder_is_an_error_that_names_the_file_and_the_signal(clip: Path, number: signal.Signals) -> None:
    with FrameReader(clip) as reader:
        frames = iter(reader)
        next(frames).release()
        os.kill(_child(reader), number)
        with pytest.raises(DecoderCrashError, match=rf"{clip}.*{number.name}") as caught:
            for frame in frames:
                frame.release()
    assert may_be_tried_again(caught.value)
    assert len(read(clip).numbers) == 200


def test_a_decoder_that_hangs_is_given_up(clip: Path) -> None:
    with FrameReader(clip, timeout_s=4.0) as reader:
        frames = iter(reader)
        next(frames).release()
        os.kill(_child(reader), signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DecoderCrashError, match=rf"{clip}.*did not answer for 4 s"):
            for frame in frames:
                frame.release()
        assert time.monotonic() - started < 12


def test_stopping_from_another_thread_wakes_the_reader(clip: Path) -> None:
    with FrameReader(clip, slots=2) as reader:
        frames = iter(reader)
        held = [next(frames), next(frames)]
        timer = threading.Timer(0.3, reader.stop)
        timer.start()
        # Both slots are held, so the decoder waits and the reader with it.
        with pytest.raises(DecoderCrashError):
            next(frames)
        timer.join()
        assert number_of(held[0].image) == 0


def test_a_frame_held_after_the_end_is_still_there(clip: Path) -> None:
    with FrameReader(clip) as reader:
        frame = next(iter(reader))
        image = frame.image
    frame.release()
    assert number_of(image) == 0


def test_the_decoder_waits_for_a_free_slot(clip: Path) -> None:
    with FrameReader(clip, slots=3) as reader:
        frames = iter(reader)
        held = [next(frames) for _ in range(3)]
        wait_until_it_waits(_child(reader))
        assert [number_of(frame.image) for frame in held] == [0, 1, 2]
        numbers = [number_of(frame.image) for frame in held]
        for frame in held:
            frame.release()
        for frame in frames:
            numbers.append(number_of(frame.image))
            frame.release()
    assert numbers == list(range(200))


def test_frames_may_be_released_out_of_order_and_from_other_threads(clip: Path) -> None:
    numbers = []
    with FrameReader(clip, slots=4) as reader:
        held = []
        for frame in reader:
            numbers.append(number_of(frame.image))
            held.append(frame)
            if len(held) == 3:
                thread = threading.Thread(target=lambda held=held: [frame.release() for frame in reversed(held)])
                thread.start()
                thread.join()
                held = []
    assert numbers == list(range(200))


def test_leaving_early_ends_the_decoder_at_once(clip: Path) -> None:
    with FrameReader(clip) as reader:
        next(iter(reader))
        started = time.monotonic()
    assert time.monotonic() - started < 2
    reader.close()
    reader.stop()


def test_the_decoder_dies_with_its_parent(clip: Path) -> None:
    script = (
        "import sys, os, time\nfrom pathlib import Path\nfrom birefnet_batch.video.reader import FrameReader\n"
        "reader = FrameReader(Path(sys.argv[1])).__enter__()\nframe = next(iter(reader))\n"
        "print(reader.pid, flush=True)\ntime.sleep(60)\n"
    )
    assert len(left_by_a_killed_parent(script, clip)) == 1


def test_the_decoder_imports_no_torch() -> None:
    script = (
        "import sys, birefnet_batch.video.decode_process, birefnet_batch.video.join; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_module_in_the_working_folder_does_not_stand_in_for_a_library(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('the wrong av')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert len(read(clip, 0, 5).numbers) == 5


def test_many_readers_at_once(clip: Path) -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(len(read(clip, 0, 50).numbers))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [50] * 4
