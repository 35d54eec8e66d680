"""Parts that travel through a bucket or a folder: what dead runs finished is taken over, the rest goes."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch import Settings
from birefnet_batch.errors import OutputError
from birefnet_batch.executors import bucket_parts, folder_parts
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.bucket_parts import BucketParts
from birefnet_batch.executors.finished_segments import keep
from birefnet_batch.executors.parts import Parts, open_parts
from birefnet_batch.executors.ray_worker import RayWorker
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.segment_task import SegmentRecord
from birefnet_batch.settings import ExecutorSettings, StorageSettings
from birefnet_batch.storage import Output
from birefnet_batch.storage.filesystems import bucket_filesystem
from birefnet_batch.storage.finished_parts import part_name, record_name

RECORD, PART, LOOSE = record_name(0), part_name("video", 0), part_name("video", 1)


class Place:
    """Where the parts of an output travel: `put` files of a run, and see those of all its runs."""

    def __init__(self, output: Path, scratch: str, storage: StorageSettings) -> None:
        self.output = Output(str(output), "any", storage)
        self.settings = replace(
            Settings(output=str(output)), storage=storage, executor=ExecutorSettings(scratch=scratch)
        )
        self._scratch, self._storage = scratch, storage

    def put(self, run_id: str, folder: Path, *names: str) -> None:
        parts = self.parts(run_id)
        if "://" not in self._scratch:
            (Path(self._scratch) / self.output.digest / run_id).mkdir(parents=True, exist_ok=True)
        here = parts.folder(folder) / "job"
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            (here / name).write_text(f"{run_id} {name}")
        parts.put("job", [here / name for name in names])

    def parts(self, run_id: str) -> Parts:
        return open_parts(self.settings, self.output, run_id)

    def inherit(self, run_id: str) -> None:
        self.parts(run_id).inherit()

    def clean(self, run_id: str, *, over: bool) -> None:
        self.parts(run_id).clean(over)

    @property
    def files(self) -> set[str]:
        """`run/job/name` of all files."""
        if "://" not in self._scratch:
            found = [path for path in Path(self._scratch).rglob("*") if path.is_file()]
            return {"/".join(path.parts[-3:]) for path in found}
        files: Any = bucket_filesystem("s3", self._storage)
        try:
            # SeaweedFS shows an emptied folder as an object.
            return {"/".join(path.split("/")[-3:]) for path in files.find(self._scratch) if path.count("/") > 3}
        except FileNotFoundError:
            return set()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Makes the place of an output, by its name; all travel below one location."""
    if request.param == "folder":
        scratch, storage = str(tmp_path / "scratch"), StorageSettings()
    else:
        cloud = request.getfixturevalue("s3")
        scratch = f"{cloud.root}/{tmp_path.name}"
        storage = StorageSettings(options={"s3": cloud.options})
    return lambda name: Place(tmp_path / name, scratch, storage)


def test_what_a_dead_run_finished_is_taken_over_and_the_rest_is_removed(
    place: Callable[[str], Place], tmp_path: Path
) -> None:
    mine, other = place("out"), place("other")
    mine.put("dead", tmp_path / "dead", PART, LOOSE, RECORD)
    other.put("elsewhere", tmp_path / "elsewhere", PART)
    mine.inherit("next")
    assert mine.files == {f"next/job/{PART}", f"next/job/{RECORD}", f"elsewhere/job/{PART}"}
    mine.clean("next", over=True)
    assert mine.files == {f"elsewhere/job/{PART}"}
    other.clean("elsewhere", over=True)


def test_before_a_run_is_over_its_finished_segments_stay(place: Callable[[str], Place], tmp_path: Path) -> None:
    mine = place("out")
    mine.put("stopped", tmp_path / "stopped", PART, LOOSE, RECORD)
    mine.clean("stopped", over=False)
    assert mine.files == {f"stopped/job/{PART}", f"stopped/job/{RECORD}"}
    mine.put("unlucky", tmp_path / "unlucky", LOOSE)
    mine.clean("unlucky", over=False)
    mine.clean("stopped", over=True)
    assert not mine.files


@pytest.mark.parametrize("over", [False, True])
def test_a_run_that_lost_its_output_removes_no_part_of_the_run_that_took_it(
    place: Callable[[str], Place], tmp_path: Path, over: bool
) -> None:
    mine = place("out")
    mine.put("sleeper", tmp_path / "sleeper", LOOSE)
    mine.put("taker", tmp_path / "taker", PART, LOOSE)
    mine.clean("sleeper", over=over)
    assert mine.files == {f"taker/job/{PART}", f"taker/job/{LOOSE}"}
    mine.clean("taker", over=True)
    assert not mine.files


def test_a_worker_gets_records_first_and_parts_when_it_joins(s3: Any, tmp_path: Path) -> None:
    storage = StorageSettings(options={"s3": s3.options})
    mine = Place(tmp_path / "out", f"{s3.root}/records", storage)
    mine.put("run", tmp_path / "there", PART, LOOSE, RECORD)
    here = tmp_path / "here"
    here.mkdir()
    store = mine.parts("run")
    store.get_records("job", here)
    assert [path.name for path in here.iterdir()] == [RECORD]
    store.get("job", here, [PART])
    assert (here / PART).read_text() == f"run {PART}"
    mine.clean("run", over=True)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BucketParts]:
    """The parts of a run, by its id, in a bucket of this process's memory."""
    memory = pytest.importorskip("fsspec.implementations.memory")

    class Bucket(memory.MemoryFileSystem):
        def find(self, path: str, *args: Any, **more: Any) -> list[str]:
            # As a bucket's library names them.
            return [name.lstrip("/") for name in super().find(path, *args, **more)]

    files = Bucket()
    monkeypatch.setattr(bucket_parts, "bucket_filesystem", lambda scheme, settings: files)
    mine = Place(tmp_path / "out", f"s3://bucket/{tmp_path.name} [1]*?", StorageSettings())
    return lambda run_id: BucketParts(mine.settings, mine.output, run_id)


def there(store: BucketParts) -> dict[str, dict[str, set[str]]]:
    return {run_id: {job: set(names) for job, names in jobs.items()} for run_id, jobs in store._names().items()}


def folder_with(folder: Path, **contents: str) -> Path:
    folder.mkdir()
    for name, path in {"part": PART, "record": RECORD}.items():
        if name in contents:
            (folder / path).write_text(contents[name])
    return folder


@pytest.mark.parametrize("planned_again", [False, True])
def test_half_a_part_that_a_killed_worker_left_is_replaced_by_the_whole_one(
    bucket: Callable[[str], BucketParts], tmp_path: Path, planned_again: bool
) -> None:
    store = bucket("run")
    there = folder_with(tmp_path / "there", part="whole", record="{}")
    store.put("job", [there / PART, there / RECORD])
    here = folder_with(tmp_path / "here", part="ha")
    if planned_again:
        store.get_records("job", here)
    store.get("job", here, [PART])
    assert (here / PART).read_text() == "whole"


def test_of_the_parts_of_a_video_that_is_begun_those_of_other_videos_and_runs_are_not_listed(
    bucket: Callable[[str], BucketParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket("run")
    made = folder_with(tmp_path / "made", part="whole", record="{}")
    for run_id, job_id in (("run", "job"), ("run", "job-2"), ("run", "other"), ("dead", "job")):
        bucket(run_id).put(job_id, [made / PART, made / RECORD])
    find, listed = store._files.find, []

    def finding(*args: Any) -> list[str]:
        found: list[str] = find(*args)
        listed.extend(found)
        return found

    monkeypatch.setattr(store._files, "find", finding)
    (tmp_path / "here").mkdir()
    assert store.get_records("job", tmp_path / "here") == {PART, RECORD}
    assert len(listed) == 2
    assert store.get_records("new", tmp_path / "here") == set()
    assert len(listed) == 2


@pytest.mark.parametrize("moved", [1, 2])
def test_finished_segments_that_a_stopped_run_had_begun_to_take_over_are_whole_for_the_next(
    bucket: Callable[[str], BucketParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    names = [PART, part_name("mask", 0), RECORD]
    for name in names:
        (tmp_path / name).write_text(name)
    bucket("1st").put("job", [tmp_path / name for name in names])
    stopped = bucket("2nd")
    copy, left = stopped._files.cp_file, [None] * moved

    def copy_some(*places: str) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        copy(*places)

    with monkeypatch.context() as patch:
        patch.setattr(stopped._files, "cp_file", copy_some)
        with pytest.raises(KeyboardInterrupt):
            stopped.inherit()
    bucket("3rd").inherit()
    assert there(stopped) == {"3rd": {"job": set(names)}}


def test_finished_segments_are_taken_over_side_by_side_and_records_after_all_parts(
    bucket: Callable[[str], BucketParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*(part_name("video", index) for index in range(4)), *map(record_name, range(4))]
    for name in names:
        (tmp_path / name).write_text(name)
    bucket("dead").put("job", [tmp_path / name for name in names])
    following, all_four, copied = bucket("next"), threading.Barrier(4), []
    copy = following._files.cp_file

    def copying(source: str, target: str) -> None:
        all_four.wait(60)
        copy(source, target)
        copied.append(target.rpartition(".")[2])

    monkeypatch.setattr(following._files, "cp_file", copying)
    following.inherit()
    assert copied == ["part"] * 4 + ["json"] * 4
    assert there(following) == {"next": {"job": set(names)}}


def test_a_finished_segment_that_cannot_be_taken_over_is_one_clear_error_and_no_record_stands_without_parts(
    bucket: Callable[[str], BucketParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = folder_with(tmp_path / "made", part="whole", record="{}")
    bucket("dead").put("job", [made / PART, made / RECORD])
    following, copy = bucket("next"), bucket("next")._files.cp_file

    def refusing(source: str, target: str) -> None:
        if target.endswith(PART):
            raise PermissionError("not yours")
        copy(source, target)

    monkeypatch.setattr(following._files, "cp_file", refusing)
    with pytest.raises(OutputError, match=f"{PART} cannot be written"):
        following.inherit()
    assert there(following) == {"dead": {"job": {PART, RECORD}}}


def test_parts_below_a_name_with_letters_of_patterns_are_taken_over_and_removed(
    bucket: Callable[[str], BucketParts], tmp_path: Path
) -> None:
    folder = folder_with(tmp_path / "folder", part="whole", record="{}")
    (folder / LOOSE).write_text("half")
    dead = bucket("dead")
    for job in ("film-1", "film-2"):
        dead.put(job, [folder / name for name in (PART, RECORD, LOOSE)])
    dead.drop("film-1")
    assert there(dead) == {"dead": {"film-2": {PART, RECORD, LOOSE}}}
    dead.clean(over=False)
    assert there(dead) == {"dead": {"film-2": {PART, RECORD}}}
    following = bucket("next")
    following.inherit()
    assert there(following) == {"next": {"film-2": {PART, RECORD}}}
    following.clean(over=True)
    assert there(following) == {}


def test_records_of_segments_that_are_done_again_stand_beside_no_new_parts(
    bucket: Callable[[str], BucketParts], tmp_path: Path
) -> None:
    """Of other settings: half a new part would count as whole, and a new one as made for the settings of before."""

    def plan_of(key: str, folder: Path) -> Any:
        return SimpleNamespace(
            segments=(0, 1),
            record=SimpleNamespace(key=key, engine={}, versions={}),
            whole=SimpleNamespace(source=None),
            task=lambda *_: SimpleNamespace(kinds=("video",), part=lambda kind: folder / PART),
            job=SimpleNamespace(display_uri="clip.mp4", job_id="job"),
        )

    def made(key: str, folder: Path) -> list[Path]:
        done = SegmentDone(SegmentRecord(0, 1, 1, {}, {"video": folder / PART}), {}, None)
        context: Any = SimpleNamespace(run_id=f"run of {key}")
        return keep(context, plan_of(key, folder), done)

    def finished(store: BucketParts, key: str, folder: Path) -> list[int]:
        output: Any = None
        worker: Any = RayWorker("worker-1", RunContext("another", Settings(), output, {}))
        worker._parts, worker._workspace = store, SimpleNamespace(parts=lambda job: folder)
        return list(worker._finished(plan_of(key, folder)))

    bucket("1st").put("job", made("a", folder_with(tmp_path / "1st", part="a's")))
    second, here = bucket("2nd"), folder_with(tmp_path / "2nd")
    second.inherit()
    assert finished(second, "b", here) == []
    assert list(here.iterdir()) == []
    # A worker is killed here, and another machine does the segment.
    (here / PART).write_text("ha")
    new = made("b", folder_with(tmp_path / "elsewhere", part="b's"))
    second.put("job", new[:1])
    second.get("job", here, [PART])
    assert (here / PART).read_text() == "b's"
    # Stopped before the record came.
    third, other = bucket("3rd"), folder_with(tmp_path / "3rd")
    third.inherit()
    assert finished(third, "a", other) == []


def test_a_part_that_was_made_here_is_not_fetched(bucket: Callable[[str], BucketParts], tmp_path: Path) -> None:
    here = folder_with(tmp_path / "here", part="mine", record="{}")
    bucket("run").get("job", here, [PART])
    assert (here / PART).read_text() == "mine"


def test_a_worker_whose_scratch_folder_is_another_than_the_drivers_is_told_apart(tmp_path: Path) -> None:
    place = Place(tmp_path / "out", str(tmp_path / "scratch"), StorageSettings())
    place.inherit("run")
    parts = place.parts("run")
    assert parts.folder(tmp_path / "copies").is_relative_to(tmp_path / "scratch")
    (tmp_path / "scratch").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"executor.scratch=.* is not the same on .* mount the folder"):
        parts.folder(tmp_path / "copies")


@pytest.mark.parametrize("call", ["move_finished", "keep_finished"])
def test_parts_of_a_folder_that_may_not_be_moved_or_removed_are_an_error_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "dead/job")

    place = Place(tmp_path / "out", str(tmp_path / "scratch"), StorageSettings())
    place.put("dead", tmp_path / "dead", PART, RECORD)
    monkeypatch.setattr(folder_parts, call, refused)
    said = r"executor.scratch=.*/scratch cannot be written: permission denied \(dead/job\); choose another folder"
    with pytest.raises(OutputError, match=said):
        place.inherit("run") if call == "move_finished" else place.clean("run", over=False)
