"""The order in which a job's files appear, and what stays after a failure."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.jobs import Job, marker
from birefnet_batch.publish import Media, complete_result, publish, publish_failure
from birefnet_batch.request import Request
from birefnet_batch.results import ErrorRecord, JobRecord, SourceRecord
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import Output
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.video.join import JoinedFacts

FACTS = JoinedFacts(5, 0.2, 25.0, 64, 48, 5, ())
JOB = Job.from_request(Request("/v/clip.mp4", output_mask=True))


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with Output(str(tmp_path), "run") as made:
        yield made


def media(output: Output, job: Job = JOB, content: bytes = b"media") -> list[Media]:
    made = []
    for kind in ("video", "mask"):
        staged = output.staged(kind)
        staged.write_bytes(content)
        suffix = "" if kind == "video" else "_mask"
        made.append(Media(kind, staged, f"clip{suffix}.mp4", "video/mp4", FACTS))  # type: ignore[arg-type]
    return made


def record(key: str | None = "abc", error: str | None = None) -> JobRecord:
    return JobRecord(
        job_id=JOB.job_id,
        status="failed" if error else "succeeded",
        request=JOB.request.to_dict(),
        source=SourceRecord("file:///v/clip.mp4"),
        key=key,
        error=ErrorRecord("InputError", error) if error else None,
    )


def test_the_marker_is_written_last_and_media_before_the_records(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = LocalStore.put_file

    def watched(self: LocalStore, source: Path, relative: str, content_type: str = "") -> None:
        order.append(relative.rpartition("/")[2])
        real(self, source, relative, content_type)

    monkeypatch.setattr(LocalStore, "put_file", watched)
    publish(output, JOB, record(), media(output))
    assert order == ["clip.mp4", "clip_mask.mp4", "result.json", "job.json", marker("abc")]


def test_a_result_that_is_replaced_loses_its_marker_before_its_media(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(output, JOB, record("old"), media(output))

    def full(self: LocalStore, source: Path, relative: str, content_type: str = "") -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(LocalStore, "put_file", full)
    with pytest.raises(OutputError):
        publish(output, JOB, record("new"), media(output))
    assert not [name for name in output.list(JOB.folder) if name.startswith("complete-")]


@pytest.mark.parametrize("sync_mode", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_complete_result_of_which_nothing_was_replaced_outlives_a_publication_that_failed(
    output: Output, monkeypatch: pytest.MonkeyPatch, sync_mode: bool, replaced: bool
) -> None:
    job = Job.from_request(Request("/v/clip.mp4", sync_mode=sync_mode, output_mask=True))
    publish(output, job, record("old"), media(output, job))
    before = output.list(job.folder)
    real = LocalStore.put_file

    def full(self: LocalStore, source: Path, relative: str, content_type: str = "") -> None:
        first = relative.endswith("result.json" if sync_mode else "clip.mp4")
        if replaced or not first:
            real(self, source, relative, content_type)
        if first:
            raise OutputError("the storage refused it, or its answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_file", full)
        with pytest.raises(OutputError):
            publish(output, job, record("new"), media(output, job))
    assert publish_failure(output, job, record("new", error="it broke")) is not replaced
    assert output.list(job.folder) == (["job.json"] if replaced else sorted([*before, "failed.json"]))


@pytest.mark.parametrize("uploads", [False, True])
def test_a_complete_result_keeps_its_marker_when_its_successor_is_stopped_unless_an_upload_may_go_on(
    output: Output, monkeypatch: pytest.MonkeyPatch, uploads: bool
) -> None:
    publish(output, JOB, record("old"), media(output))
    before = output.list(JOB.folder)

    def stopped(self: Output, staged: Path, relative: str, content_type: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Output, "publish", stopped)
    if uploads:
        monkeypatch.setattr("birefnet_batch.publish.LocalStore", type("Other", (), {}))
    with pytest.raises(KeyboardInterrupt):
        publish(output, JOB, record("new"), media(output))
    assert output.list(JOB.folder) == [name for name in before if not (uploads and name == marker("old"))]


@pytest.mark.parametrize("sync_mode", [False, True])
def test_a_complete_result_has_its_marker_while_its_successor_is_hashed(
    output: Output, monkeypatch: pytest.MonkeyPatch, sync_mode: bool
) -> None:
    job = Job.from_request(Request("/v/clip.mp4", sync_mode=sync_mode, output_mask=True))
    publish(output, job, record("old"), media(output, job))
    before, seen = output.list(job.folder), []

    def hashed(path: Path) -> str:
        seen.append(output.list(job.folder))
        return "digest"

    monkeypatch.setattr("birefnet_batch.publish.file_sha256", hashed)
    publish(output, job, record("new"), media(output, job))
    assert seen == [before, before]


@pytest.mark.parametrize("sync_mode", [False, True])
def test_the_urls_of_a_result_that_is_read_are_where_the_output_was_moved_to(
    output: Output, tmp_path: Path, sync_mode: bool
) -> None:
    job = Job.from_request(Request("/v/clip.mp4", sync_mode=sync_mode, output_mask=True))
    result = publish(output, job, record(), media(output, job))
    shutil.copytree(output.uri("").removeprefix("file://"), tmp_path / "moved")
    moved = complete_result(Output(str(tmp_path / "moved"), "other"), job)
    assert moved.mask_video is not None
    if sync_mode:
        assert moved == result
    else:
        for file in (moved.video, moved.mask_video):
            assert file.url == (tmp_path / "moved" / job.file(file.file_name)).as_uri()


def test_urls_are_absolute_and_paths_in_the_record_relative(output: Output) -> None:
    result = publish(output, JOB, record(), media(output))
    assert result.video.url == output.uri(JOB.file("clip.mp4"))
    assert complete_result(output, JOB) == result
    written = JobRecord.from_json(output.read(JOB.file("job.json")) or b"")
    assert written.outputs == {
        "video": JOB.file("clip.mp4"),
        "mask_video": JOB.file("clip_mask.mp4"),
        "result": JOB.file("result.json"),
    }
    assert written.outputs_sha256.keys() == {"video", "mask_video"}


@pytest.mark.parametrize("key", ["abc", None, "other"])
def test_a_failure_loses_no_complete_result_and_is_recorded_beside_it(output: Output, key: str | None) -> None:
    publish(output, JOB, record("abc"), media(output))
    before = output.list(JOB.folder)
    publish_failure(output, JOB, record(key, error="it broke"))
    assert output.list(JOB.folder) == sorted([*before, "failed.json"])
    kept, failed = (JobRecord.from_json(output.read(JOB.file(name)) or b"") for name in ("job.json", "failed.json"))
    assert (kept.status, failed.status) == ("succeeded", "failed")
    publish(output, JOB, record(key or "abc"), media(output))
    assert "failed.json" not in output.list(JOB.folder)


def test_what_an_attempt_that_failed_left_goes_with_the_next_failure(output: Output) -> None:
    output.write(JOB.file("clip.mp4"), b"half a job: no marker")
    publish_failure(output, JOB, record("abc", error="it broke"))
    assert output.list(JOB.folder) == ["job.json"]


def test_files_of_others_in_the_folder_of_a_job_stay_when_it_fails(output: Output) -> None:
    for name in ("notes.txt", "clip_mask.mp4", "result.json", "failed.json"):
        output.write(JOB.file(name), b"")
    publish_failure(output, JOB, record("abc", error="it broke"))
    assert output.list(JOB.folder) == ["job.json", "notes.txt"]


def test_a_publication_that_is_killed_leaves_no_failure_of_before_beside_a_complete_result(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(output, JOB, record("old"), media(output))
    publish_failure(output, JOB, record("new", error="it broke"))
    real = LocalStore.put_file

    def killed(self: LocalStore, source: Path, relative: str, content_type: str = "") -> None:
        real(self, source, relative, content_type)
        if relative.endswith(marker("new")):
            raise KeyboardInterrupt

    monkeypatch.setattr(LocalStore, "put_file", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(output, JOB, record("new"), media(output))
    names = output.list(JOB.folder)
    assert marker("new") in names
    assert "failed.json" not in names


def test_media_with_the_name_of_a_marker_complete_no_job(output: Output) -> None:
    named = Job.from_request(Request("/v/complete-foo.mp4"))
    output.write(named.file(named.media_name(False)), b"half a job: no marker")
    publish_failure(output, named, record("abc", error="it broke"))
    assert output.list(named.folder) == ["job.json"]


def test_sync_mode_keeps_no_media_and_says_so_and_refuses_what_is_too_long(tmp_path: Path) -> None:
    sync = Job.from_request(Request("/v/clip.mp4", sync_mode=True, output_mask=True))
    with Output(str(tmp_path), "run", StorageSettings(max_data_uri_bytes=100)) as output:
        with pytest.raises(OutputError, match="clip.mp4 would be a data URI of 122 bytes, more than storage"):
            publish(output, sync, record(), media(output, sync, b"x" * 75))
        assert output.list(sync.folder) == []
        result = publish(output, sync, record(), media(output, sync, b"x" * 57))
        assert result.video.url.startswith("data:video/mp4;base64,eHh4")
        assert output.list(sync.folder) == [marker("abc"), "job.json", "result.json"]
        written = JobRecord.from_json(output.read(sync.file("job.json")) or b"")
    assert written.outputs == {"result": sync.file("result.json")}
    assert written.outputs_sha256["video"] == hashlib.sha256(b"x" * 57).hexdigest()
    assert "no media file is kept" in written.notes[0]
    assert "base64" not in written.to_json().decode()


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}"])
def test_a_damaged_result_of_a_complete_job_says_how_to_mend_it(output: Output, content: bytes) -> None:
    publish(output, JOB, record(), media(output))
    output.write(JOB.file("result.json"), content)
    with pytest.raises(OutputError, match="resume=force"):
        complete_result(output, JOB)
