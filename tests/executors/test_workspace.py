"""What a machine says of the inputs that it is given, and of one that changes while several machines read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import ElsewhereError, InputError
from birefnet_batch.executors.workspace import Workspace, has_source
from birefnet_batch.jobs import Job
from birefnet_batch.request import Request
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import bucket_source, source_facts


@pytest.mark.parametrize(("url", "file"), [("shot/clip.mp4", "clip.mp4"), ("shot/f_%04d.png", "f_0001.png")])
def test_a_machine_without_the_folder_says_so_of_files_and_of_numbered_images(
    url: str, file: str, tmp_path: Path
) -> None:
    job = Job.from_request(Request(url), tmp_path)
    assert not has_source(job, StorageSettings())
    (tmp_path / "shot").mkdir()
    (tmp_path / "shot" / file).write_bytes(b"x")
    assert has_source(job, StorageSettings())


def test_of_a_remote_input_nothing_is_asked() -> None:
    assert has_source(Job.from_request(Request("http://127.0.0.1:9/clip.mp4")), StorageSettings())


class Bucket:
    """One object, which is replaced after its next chunk was read."""

    def __init__(self) -> None:
        self.version, self.asked, self.is_replaced = 1, 0, False

    def info(self, path: str, timeout: float) -> dict[str, Any]:
        self.asked += 1
        return {"name": path, "size": 9 << 20, "type": "file", "ETag": f'"v{self.version}"'}

    def cat_file(self, path: str, start: int, end: int, timeout: float) -> bytes:
        content = bytes([self.version]) * (end - start)
        if self.is_replaced:
            self.version, self.is_replaced = 2, False
        return content


def test_a_video_of_which_a_second_machine_read_another_version_from_the_bucket_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, settings = Bucket(), StorageSettings()
    monkeypatch.setattr(bucket_source, "bucket_filesystem", lambda scheme, settings: bucket)
    job = Job.from_request(Request("s3://bucket/film.mp4"))
    facts = source_facts(job.uri, settings)
    with Workspace(tmp_path / "1", tmp_path, settings) as joins, Workspace(tmp_path / "2", tmp_path, settings) as other:
        joins.open(job, facts).sha256()
        bucket.is_replaced = True
        # Its segment is not the first, and asks for no digest.
        other.path(job, facts)
        with pytest.raises(InputError):
            other.open(job, facts).complete()
        with pytest.raises(InputError, match="s3://bucket/film.mp4 changed while it was read"):
            joins.leave(job, facts, shared=True)


@pytest.mark.parametrize("shared", [False, True])
def test_only_of_a_video_that_was_cut_the_bucket_is_asked_once_more(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, settings = Bucket(), StorageSettings()
    monkeypatch.setattr(bucket_source, "bucket_filesystem", lambda scheme, settings: bucket)
    job = Job.from_request(Request("s3://bucket/film.mp4"))
    facts = source_facts(job.uri, settings)
    with Workspace(tmp_path / "1", tmp_path, settings) as workspace:
        workspace.open(job, facts).sha256()
        before = bucket.asked
        workspace.leave(job, facts, shared=shared)
    assert bucket.asked - before == shared


@pytest.mark.parametrize(("url", "file"), [("clip.mp4", "clip.mp4"), ("f_%04d.png", "f_0001.png")])
def test_a_segment_is_not_made_of_another_file_than_its_video_was_begun_with(
    url: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(b"one machine's")
    job, settings = Job.from_request(Request(url), tmp_path), StorageSettings()
    facts = source_facts(job.uri, settings)
    (tmp_path / file).write_bytes(b"what another machine has at that path")
    with (
        Workspace(tmp_path / "own", tmp_path / "shared", settings) as workspace,
        pytest.raises(ElsewhereError, match="is not what it was where the video was begun; mount its folder"),
    ):
        workspace.path(job, facts)
