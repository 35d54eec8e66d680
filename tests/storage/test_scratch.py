"""What is left of scratch folders, on file systems that refuse some of what ext4 does."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.run_ids import new_run_id
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import Output


@pytest.mark.parametrize(
    ("call", "number"), [("is_dir", errno.ENOTCONN), ("unlink", errno.ESTALE), ("iterdir", errno.EIO)]
)
def test_a_place_that_is_lost_hides_no_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, number: int
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(OutputError, match="the first error"), Output(str(tmp_path / "out"), "run") as output:
        (output.scratch / "unfinished").touch()
        monkeypatch.setattr(Path, call, refuse)
        raise OutputError("the first error")
    monkeypatch.undo()
    told = f"scratch space may stay in {output.scratch}: {os.strerror(number).lower()} ({output.scratch}"
    assert told in caplog.text


@pytest.fixture
def keeps_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS and FUSE, which keep a file that is removed while it is open, and so its folder, until it is closed."""
    remove = os.rmdir

    def refuse(path: Any, *, dir_fd: int | None = None) -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                if Path(os.fsdecode(path)).name in descriptor.readlink().parts[:-1]:
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refuse)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nothing tells which files are open")  # noqa: PTH112
@pytest.mark.usefixtures("keeps_what_is_open")
@pytest.mark.parametrize("over", [False, True])
def test_no_folder_stays_where_a_removed_file_does_until_it_is_closed(tmp_path: Path, over: bool) -> None:
    location = str(tmp_path / "out")
    with Output(location, "run") as output:
        with pytest.raises(ConfigError, match="is in use"), Output(location, "another"):
            pass
        with Output(location, "run").attach() as attached:
            attached.worker_folder.mkdir(parents=True)
        assert list(output.scratch.parent.iterdir()) == [output.scratch]
        if over:
            output.all_ended()
    assert not (tmp_path / "out" / ".scratch").exists()


@pytest.mark.parametrize("parts", [None, "parts", "parts-of-another-output"])
@pytest.mark.parametrize("seconds", [0, 60])
def test_what_a_dead_run_left_without_a_lock_is_removed_and_what_one_begins_with_is_not(
    tmp_path: Path, parts: str | None, seconds: float
) -> None:
    folder = tmp_path / "scratch" / new_run_id()
    (folder / parts if parts else folder).mkdir(parents=True)
    then = time.time() - seconds
    os.utime(folder, (then, then))
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "scratch"))):
        assert folder.exists() == (seconds == 0)


def test_finished_segments_of_a_dead_run_that_left_no_lock_are_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "out" / ".scratch" / new_run_id()
    for name in ("parts/film/segment-00000.json", "parts/film/video-00000.part", "sources/film/source"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with Output(str(tmp_path / "out"), "run") as output:
        assert sorted(os.listdir(output.parts / "film")) == ["segment-00000.json", "video-00000.part"]  # noqa: PTH208
        assert not folder.exists()


def test_what_cannot_be_removed_of_a_dead_run_stays_and_keeps_no_run_from_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As another user's, in scratch space that all share."""
    left = tmp_path / "scratch" / new_run_id() / "parts" / "film" / "video-00000.part"
    left.parent.mkdir(parents=True)
    left.touch()
    remove = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == left.name:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "scratch"))):
        assert left.exists()
    assert f"stays in {left.parents[2]}: operation not permitted ({left})" in caplog.text


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_begins_is_left_alone_before_it_holds_its_lock_and_one_that_was_killed_then_removed(
    tmp_path: Path, killed: bool
) -> None:
    lock = FileLock(tmp_path / "scratch" / new_run_id() / f"run-{socket.gethostname()}.lock", thread_local=False)
    folder = Path(lock.lock_file).parent
    (folder / "parts").mkdir(parents=True)
    Path(lock.lock_file).touch()
    if not killed:
        threading.Timer(0.1, lock.acquire).start()
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "scratch"))):
        assert folder.exists() != killed


def test_a_run_begins_though_others_ask_whether_it_lives_or_end_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, ends = Output(str(tmp_path / "out"), "run"), new_run_id()
    asked = FileLock(output.scratch / f"run-{socket.gethostname()}.lock", thread_local=False)
    (output.scratch.parent / ends).mkdir(parents=True)
    look = Path.glob

    def gone(path: Path, *words: Any) -> Any:
        if path.name == ends:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return look(path, *words)

    monkeypatch.setattr(Path, "glob", gone)
    output.scratch.mkdir()
    asked.acquire()
    threading.Timer(0.2, asked.release).start()
    with output, Output(str(tmp_path / "out"), "run").attach():
        pass


_DIE_WITHOUT_LOCKS = """
import errno, fcntl, os, pickle, sys
def refuse(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
fcntl.flock = refuse
output = pickle.loads(bytes.fromhex(sys.argv[1]))
with output, output.with_settings(output.settings).attach() as worker:
    worker.worker_folder.mkdir(parents=True)
    (worker.worker_folder / "source").touch()
    for name in ("segment-00000.json", "video-00000.part"):
        (output.parts / "film").mkdir(exist_ok=True)
        (output.parts / "film" / name).touch()
    os._exit(1)
"""


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_of_a_dead_run_nothing_stays_where_there_is_no_flock_and_no_warning_tells_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """As on Lustre that is mounted without it."""
    dead = Output(str(tmp_path / "out"), new_run_id())
    words = [sys.executable, "-c", _DIE_WITHOUT_LOCKS, pickle.dumps(dead).hex()]
    assert subprocess.run(words, check=False, capture_output=True).stderr == b""
    locks = list(dead.scratch.glob("*.lock"))
    assert len(locks) == 2
    if elsewhere:
        for lock in locks:
            lock.write_text(f"{os.getpid()}\nanother-machine\n")

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with Output(str(tmp_path / "out"), new_run_id()) as output:
        assert sorted(os.listdir(output.parts / "film")) == ["segment-00000.json", "video-00000.part"]  # noqa: PTH208
        assert list(output.scratch.parent.iterdir()) == [output.scratch]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
@pytest.mark.parametrize("scratch", [None, "scratch"])
def test_a_place_without_file_locks_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, scratch: str | None
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    place = f"storage.scratch={tmp_path / scratch}" if scratch else f"output={tmp_path / 'out'}"
    storage = StorageSettings(scratch=str(tmp_path / scratch) if scratch else None)
    told = f"{place} has no file locks: {os.strerror(number).lower()}; choose another folder or mount it with them"
    with pytest.raises(OutputError) as caught, Output(str(tmp_path / "out"), "run", storage):
        pass
    assert str(caught.value) == told
    assert not [path for path in tmp_path.rglob("*") if path.name != "out"]


@pytest.mark.parametrize("name", ["config.yaml", "logs/run.log"])
def test_a_users_own_folder_with_the_name_of_a_run_stays(tmp_path: Path, name: str) -> None:
    """As a copy of `runs/<run id>`."""
    own = tmp_path / "scratch" / new_run_id()
    (own / name).parent.mkdir(parents=True)
    (own / name).touch()
    os.utime(own, (0, 0))
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "scratch"))):
        pass
    assert (own / name).exists()
