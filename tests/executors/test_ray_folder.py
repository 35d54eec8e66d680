"""What is left of a killed run's own Ray ends when the next run begins, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

from birefnet_batch.executors import ray_folder
from birefnet_batch.executors.ray_folder import own_folder

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are looked for as Linux has them"
)


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folders of tests be used, whose names are long."""
    monkeypatch.setattr(ray_folder, "LONGEST", 4096)


def started(name: str, log: Path) -> subprocess.Popen[bytes]:
    """A process of this name that writes to the log."""
    process = subprocess.Popen(["bash", "-c", f"exec -a {name} sleep 60"], stdout=log.open("w"))
    while name not in Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")[0]:
        time.sleep(0.01)
    return process


def test_agents_of_a_dead_run_end_and_those_of_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, living = tmp_path / "birefnet-ray-dead", tmp_path / "birefnet-ray-living"
    for folder in (dead, living):
        folder.mkdir()
        (folder / "run.lock").touch()
    with FileLock(living / "run.lock"):
        left = started("ray::DashboardAgent", dead / "agent.log")
        others = [
            started("ray::DashboardAgent", living / "agent.log"),
            started("ray::DashboardAgent", tmp_path / "elsewhere.log"),
            started("reader", dead / "read.log"),
        ]
        try:
            folder, lock = own_folder()
            assert left.wait(10) == -9
            assert [other.poll() for other in others] == [None, None, None]
        finally:
            for process in (left, *others):
                process.kill()
                process.wait()
    assert sorted(entry.name for entry in tmp_path.glob("birefnet-ray-*")) == sorted([folder.name, living.name])
    lock.release()


def test_a_folder_without_its_lock_goes_unless_it_is_new_or_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new, used = (tmp_path / f"birefnet-ray-{name}" for name in ("old", "new", "used"))
    for folder in (old, new, used):
        (folder / "sockets").mkdir(parents=True)
    process = started("ray::DashboardAgent", used / "agent.log")
    for folder in (old, used):
        os.utime(folder, (1e9, 1e9))
    try:
        folder, lock = own_folder()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([folder.name, new.name, used.name])
    lock.release()


@pytest.mark.parametrize("usable", [True, False])
def test_a_temporary_folder_whose_name_is_too_long_for_sockets_gives_way_to_one_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: bool
) -> None:
    monkeypatch.undo()
    given, short = tmp_path / "slurm" / "job.1234567", tmp_path / "tmp"
    given.mkdir(parents=True)
    if usable:
        short.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(given))
    monkeypatch.setattr(ray_folder, "_SHORT", short)
    folder, lock = own_folder()
    assert folder.parent == (short if usable else given)
    lock.release()
