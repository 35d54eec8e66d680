"""Results whole or not at all, scratch folders, and the workers of a run."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from birefnet_batch import Request, Settings, run
from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.run_ids import new_run_id
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import Output

DEAD, LIVING = new_run_id(), new_run_id()


def test_published_files_are_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    with Output(str(tmp_path / "out"), "run") as output:
        staged = output.staged("x")
        staged.write_bytes(b"media")
        assert not output.list("jobs/a")
        output.publish(staged, "jobs/a/video.mp4")
        output.write("jobs/a/job.json", b"{}")
        assert output.list("jobs/a") == ["job.json", "video.mp4"]
        assert output.read("jobs/a/video.mp4") == b"media"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["jobs"]


def test_scratch_of_a_dead_run_is_removed_and_that_of_a_living_one_kept(tmp_path: Path) -> None:
    for name in (DEAD, LIVING):
        folder = tmp_path / ".scratch" / name
        folder.mkdir(parents=True)
        (folder / "run.lock").touch()
        (folder / "part").write_bytes(b"x")
    with FileLock(tmp_path / ".scratch" / LIVING / "run.lock"), Output(str(tmp_path), "new"):
        assert not (tmp_path / ".scratch" / DEAD).exists()
        assert (tmp_path / ".scratch" / LIVING / "part").exists()


def test_a_run_whose_scratch_folder_somebody_removed_ends_as_it_would_have(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Output(str(tmp_path / "out"), "run") as output:
        shutil.rmtree(output.scratch.parent)
        raise KeyboardInterrupt
    with Output(str(tmp_path / "out"), "next"):
        pass


@pytest.mark.parametrize("days", [0, 8])
def test_in_scratch_space_that_machines_share_a_run_of_another_one_is_left_alone_for_a_week(
    tmp_path: Path, days: int
) -> None:
    """Its lock is free as far as this machine is told."""
    parts = tmp_path / "scratch" / LIVING / "parts-of-another-output"
    (parts / "film").mkdir(parents=True)
    (parts.parent / "run-another-machine.lock").touch()
    then = time.time() - days * 24 * 3600
    for folder in (parts, parts.parent):
        os.utime(folder, (then, then))
    with Output(str(tmp_path / "out"), "new", StorageSettings(scratch=str(tmp_path / "scratch"))):
        assert (parts / "film").exists() == (days == 0)


def test_what_a_dead_run_of_this_output_left_from_another_machine_is_removed_at_once(tmp_path: Path) -> None:
    storage = StorageSettings(scratch=str(tmp_path / "scratch"))
    assert work_elsewhere(Output(str(tmp_path / "out"), DEAD, storage), "die") == 1
    dead = tmp_path / "scratch" / DEAD
    (lock,) = dead.glob("worker-*.lock")
    lock.rename(dead / "run-another-machine.lock")
    with Output(str(tmp_path / "out"), "next", storage):
        assert not dead.exists()


@pytest.mark.parametrize("lock", ["Cargo.lock", "run.lock"])
def test_a_folder_of_the_users_own_in_scratch_space_stays_whatever_locks_it_has(tmp_path: Path, lock: str) -> None:
    project = tmp_path / "work" / "project"
    (project / "src").mkdir(parents=True)
    for name in (lock, "src/a.py"):
        (project / name).write_text("mine")
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "work"))):
        pass
    assert {path.name for path in project.rglob("*") if path.is_file()} == {lock, "a.py"}


def test_an_empty_scratch_folder_of_the_users_own_stays_and_one_that_a_run_made_goes(tmp_path: Path) -> None:
    own, made = tmp_path / "own", tmp_path / "made"
    own.mkdir()
    own.chmod(0o1777)
    for folder in (own, made):
        storage = StorageSettings(scratch=str(folder))
        with Output(str(tmp_path / "out"), "run", storage) as output:
            assert list(folder.iterdir()) == [output.scratch]
            with Output(str(tmp_path / "out"), "run", storage).attach():
                pass
    assert stat.S_IMODE(own.stat().st_mode) == 0o1777
    assert not made.exists()


@pytest.mark.parametrize("spelling", ["{}", "file://{}"])
def test_a_scratch_folder_of_the_users_own_is_used_and_left(tmp_path: Path, spelling: str) -> None:
    scratch = tmp_path / "fast-disk"
    scratch.mkdir()
    (scratch / "mine.txt").touch()
    with Output(str(tmp_path / "out"), "run", StorageSettings(scratch=spelling.format(scratch))) as output:
        assert output.scratch.parent == scratch
        assert output.scratch.is_dir()
    assert [path.name for path in scratch.iterdir()] == ["mine.txt"]


def test_scratch_space_of_a_bucket_is_each_users_own_and_one_in_the_way_says_which_setting_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("birefnet_batch.storage.bucket_store.bucket_filesystem", lambda scheme, settings: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = Output("s3://bucket/out", "run").scratch.parent
    first.touch()
    with (
        pytest.raises(OutputError, match=rf"scratch space in {first} cannot be .*; give storage.scratch=FOLDER"),
        Output("s3://bucket/out", "run"),
    ):
        pass
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    second = Output("s3://bucket/out", "run").scratch.parent
    assert first.parent == second.parent == tmp_path
    assert first != second


@pytest.mark.parametrize("left", [False, True])
def test_scratch_space_of_a_bucket_is_closed_to_other_users_and_refused_when_it_is_one_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    monkeypatch.setattr("birefnet_batch.storage.bucket_store.bucket_filesystem", lambda scheme, settings: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    output = Output("s3://bucket/out", "run")
    folder = output.scratch.parent
    if left:
        folder.mkdir(mode=0o755)
    with output.attach():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    refused = f"scratch space in {folder} cannot be written: it is another user's; give storage.scratch=FOLDER"
    with pytest.raises(OutputError, match=refused), output.attach():
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_rights_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: permission denied"), Output(str(tmp_path / "out"), "run"):
        pass


def test_an_output_that_cannot_be_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"), Output(str(tmp_path / "file"), "run"):
        pass
    with pytest.raises(ConfigError, match="give a folder, a file:// URI, or an s3://"):
        Output("ftp://host/x", "run")


@pytest.mark.parametrize("name", ["jobs", "runs", ".lease", ".scratch"])
def test_a_file_in_the_way_below_the_output_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    request = Request(str(tmp_path / "clip.mp4"), model="Demo")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path)) + ".* cannot be .*: not a directory"):
        run(replace(Settings(), output=str(tmp_path)), [request], command=["test"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_folders_that_another_program_made_below_an_output_stay_and_break_no_run(tmp_path: Path) -> None:
    strays = [tmp_path / name for name in (".lease/@eaDir", ".scratch/@eaDir", "jobs/a/@eaDir", "runs/@eaDir/run.json")]
    for stray in strays:
        stray.mkdir(parents=True)
    (tmp_path / ".scratch" / ".DS_Store").touch()
    with Output(str(tmp_path), "run") as output:
        output.write("jobs/a/job.json", b"{}")
        assert output.list("jobs/a") == ["job.json"]
        assert list(output.store.walk("jobs")) == [("a", "job.json")]
        assert list(output.store.walk("runs")) == []
    assert output.list(".lease") == []
    assert [path.name for path in strays if path.exists() and path.parts[-2] != ".scratch"] == [
        "@eaDir",
        "@eaDir",
        "run.json",
    ]


_WORKER = """
import pickle, sys
output = pickle.loads(bytes.fromhex(sys.argv[1]))
with output.attach():
    (output.scratch / "part").write_bytes(b"a part")
    output.worker_folder.mkdir(parents=True)
    (output.worker_folder / "source").write_bytes(b"a fetched video")
    output.write("jobs/a/job.json", b"{}")
    staged = output.staged("media")
    staged.write_bytes(b"media")
    if sys.argv[2] == "wait":
        print(flush=True)
        sys.stdin.read()
    if sys.argv[2] == "die":
        import os
        os._exit(1)
    output.publish(staged, "jobs/a/clip.mp4")
"""


def work_elsewhere(output: Output, how: str = "well") -> int:
    words = [sys.executable, "-c", _WORKER, pickle.dumps(output).hex(), how]
    return subprocess.run(words, check=False).returncode


@pytest.mark.parametrize("own_scratch", [False, True])
def test_a_worker_in_another_process_publishes_and_leaves_the_runs_scratch_alone(
    tmp_path: Path, own_scratch: bool
) -> None:
    storage = StorageSettings(scratch=str(tmp_path / "scratch") if own_scratch else None)
    with Output(str(tmp_path / "out"), "run", storage) as output:
        (output.scratch / "of-the-driver").touch()
        assert work_elsewhere(output) == 0
        assert output.read("jobs/a/clip.mp4") == b"media"
        assert (output.scratch / "part").read_bytes() == b"a part"
        assert (output.scratch / "of-the-driver").exists()
        assert work_elsewhere(output, "die") == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["clip.mp4", "job.json"]


def test_a_workers_scratch_on_a_machine_without_the_driver_goes_with_the_last_worker(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "out"), "run", StorageSettings(scratch=str(tmp_path / "scratch")))
    with pickle.loads(pickle.dumps(output)).attach():
        assert work_elsewhere(output) == 0
        assert (output.scratch / "part").exists()
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Output]:
    """The output of a run, by its id, on a machine that has workers alone; a lock there is trusted at once."""
    monkeypatch.setattr("birefnet_batch.storage.scratch._HELD_WITHIN_S", -1.0)
    storage = StorageSettings(scratch=str(tmp_path / "scratch"))
    return lambda run_id: Output(str(tmp_path / "out"), run_id, storage)


def test_a_killed_worker_keeps_no_scratch_on_a_machine_without_the_driver(
    tmp_path: Path, no_driver: Callable[[str], Output]
) -> None:
    with no_driver("run").attach() as output:
        assert work_elsewhere(output, "die") == 1
        assert (output.scratch / "part").exists()
    assert not (tmp_path / "scratch").exists()


def test_a_worker_removes_what_a_killed_one_of_its_run_had_fetched_and_nothing_of_a_living_one(
    no_driver: Callable[[str], Output],
) -> None:
    with no_driver("run").attach() as living:
        living.worker_folder.mkdir(parents=True)
        assert work_elsewhere(living, "die") == 1
        assert len(list(living.worker_folder.parent.iterdir())) == 2
        with no_driver("run").attach():
            assert list(living.worker_folder.parent.iterdir()) == [living.worker_folder]
            assert (living.scratch / "part").exists()


def test_a_worker_removes_what_killed_ones_of_dead_runs_left_where_no_driver_will_come(
    tmp_path: Path, no_driver: Callable[[str], Output]
) -> None:
    ids = [new_run_id() for _ in range(3)]
    for run_id in (DEAD, *ids):
        assert work_elsewhere(no_driver(run_id), "die") == 1
    drivers, elsewhere, begun = (tmp_path / "scratch" / run_id for run_id in ids)
    (drivers / "run.lock").touch()
    (elsewhere / "worker-another-machine-7-abcdef.lock").touch()
    words = [sys.executable, "-c", _WORKER, pickle.dumps(no_driver(begun.name)).hex(), "wait"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        living.stdout.readline()
        with no_driver("next").attach():
            left = {path.name for path in (tmp_path / "scratch").iterdir()}
            assert left == {"next", *ids}
        living.communicate()


def test_a_worker_that_has_just_made_its_lock_is_taken_for_alive_before_it_holds_it(tmp_path: Path) -> None:
    storage = StorageSettings(scratch=str(tmp_path / "scratch"))
    with Output(str(tmp_path / "out"), "run", storage).attach() as output:
        starting = output.scratch / f"worker-{socket.gethostname()}-7-abcdef.lock"
        starting.touch()
        with Output(str(tmp_path / "out"), "run", storage).attach():
            pass
    assert starting.exists()


def test_what_dead_workers_of_a_dead_run_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    assert work_elsewhere(Output(str(tmp_path / "out"), DEAD, StorageSettings(scratch=str(scratch))), "die") == 1
    assert (scratch / DEAD / "part").exists()
    with Output(str(tmp_path / "out"), "next", StorageSettings(scratch=str(scratch))):
        assert not (scratch / DEAD).exists()
        assert not (tmp_path / "out" / ".scratch" / DEAD).exists()


def test_a_worker_that_sees_another_folder_of_the_same_name_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("birefnet_batch.storage.output._SEEN_WITHIN_S", 0.0)
    with Output(str(tmp_path / "out"), "run") as output:
        output.require_held()
        # As where a machine lacks the mount: the same path, another disk.
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"is not the same on .* mount the folder at the same place"):
            output.require_held()
        assert not (tmp_path / "out").exists()
        (tmp_path / "elsewhere").rename(tmp_path / "out")
