"""Which files of a dead run are whole, and what becomes of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from filelock import FileLock

from birefnet_batch.run_ids import new_run_id
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import Output
from birefnet_batch.storage.finished_parts import keep_finished, part_name, seal


def job_with_parts(folder: Path) -> Path:
    """Segment 0 is done, segment 1 is not."""
    folder.mkdir(parents=True)
    for index in (0, 1):
        (folder / part_name("video", index)).write_bytes(b"video")
        (folder / part_name("mask", index)).write_bytes(b"mask")
    seal(folder, 0, [folder / part_name("video", 0), folder / part_name("mask", 0)], b"{}")
    return folder


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


RUN_LOCK = f"run-{socket.gethostname()}.lock"
DONE = {"a/mask-00000.part", "a/video-00000.part", "a/segment-00000.json"}


def test_what_has_no_record_is_not_kept(tmp_path: Path) -> None:
    job_with_parts(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / part_name("video", 0)).touch()
    (tmp_path / "a" / "@eaDir" / "made by a file server").mkdir(parents=True)
    assert keep_finished(tmp_path) == 1
    assert files_of(tmp_path) == DONE
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "a" / "@eaDir").exists()


def test_the_next_run_has_the_finished_segments_of_a_dead_one_and_nothing_else_of_it_stays(tmp_path: Path) -> None:
    dead = tmp_path / ".scratch" / new_run_id()
    job_with_parts(dead / "parts" / "a")
    (dead / "run.lock").touch()
    (dead / "sources").mkdir()
    with Output(str(tmp_path), "next") as output:
        assert files_of(output.parts) == DONE
        assert not dead.exists()
        output.all_ended()
    assert not (tmp_path / ".scratch").exists()


def test_a_living_worker_of_a_dead_run_loses_only_what_it_is_done_with(tmp_path: Path) -> None:
    dead = tmp_path / ".scratch" / new_run_id()
    job_with_parts(dead / "parts" / "a")
    (dead / "run.lock").touch()
    with FileLock(dead / "worker-here.lock"), Output(str(tmp_path), "next") as output:
        assert files_of(output.parts) == DONE
        assert files_of(dead / "parts") == {"a/mask-00001.part", "a/video-00001.part"}


def test_a_run_that_ends_before_its_jobs_leaves_its_finished_segments_and_says_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Output(str(tmp_path), "stopped") as output:
        job_with_parts(output.parts / "a")
        (output.scratch / "sources").mkdir()
    assert files_of(tmp_path / ".scratch" / "stopped") == {*(f"parts/{name}" for name in DONE), RUN_LOCK}
    assert f"1 finished segments stay in {output.parts}" in caplog.text


def test_in_scratch_space_that_outputs_share_each_has_its_own_segments(tmp_path: Path) -> None:
    storage = StorageSettings(scratch=str(tmp_path / "scratch"))
    with Output(str(tmp_path / "one"), new_run_id(), storage) as output:
        job_with_parts(output.parts / "a")
    with Output(str(tmp_path / "two"), "second", storage) as other:
        assert not files_of(other.parts.parent) - {RUN_LOCK}
        other.all_ended()
    with Output(str(tmp_path / "one"), "third", storage) as output:
        assert files_of(output.parts) == DONE
        output.all_ended()
    # The folder itself was there before the last two: whose it is they cannot tell.
    assert not list((tmp_path / "scratch").iterdir())
