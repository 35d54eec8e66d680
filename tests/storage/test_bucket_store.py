"""What a bucket that does not allow everything costs a run, without any server."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import bucket_store
from birefnet_batch.storage.bucket_store import BucketStore


class Answer(OSError):
    """An error of S3 by its name, as botocore's has it."""

    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}}


def answering(error: Exception, monkeypatch: pytest.MonkeyPatch) -> BucketStore:
    """An output whose store answers so when it is asked for unfinished uploads."""

    def call_s3(name: str, **_: Any) -> Any:
        raise error

    monkeypatch.setattr(bucket_store, "bucket_filesystem", lambda scheme, settings: SimpleNamespace(call_s3=call_s3))
    return BucketStore("s3://bucket/team/out", StorageSettings())


@pytest.mark.parametrize(
    "error",
    [PermissionError("not authorized to perform: s3:ListBucketMultipartUploads"), Answer("NotImplemented")],
    ids=["not permitted", "not there"],
)
def test_uploads_that_may_not_be_listed_are_left_and_the_run_goes_on(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answering(error, monkeypatch).prepare()
    (record,) = caplog.records
    assert "s3://bucket/team/out is not cleaned of uploads" in record.getMessage()
    assert "Allow s3:ListBucketMultipartUploads and s3:AbortMultipartUpload" in record.getMessage()


def test_a_bucket_that_cannot_be_reached_refuses_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="cannot be cleaned of unfinished uploads"):
        answering(Answer("SlowDown"), monkeypatch).prepare()


@pytest.mark.parametrize(
    ("output", "own"),
    [("s3://studio", {"jobs/b/b.mp4"}), ("s3://studio/done", {"done/jobs/a/a.mp4", "done/.parts/x/run/a/video.part"})],
)
def test_uploads_of_others_below_an_output_go_on_when_a_run_begins(
    output: str, own: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"raw/shoot.mov", "jobs.tar", "done/nested/jobs/c/c.mp4", "done/jobs.tar", "done-too/jobs/d/d.mp4"}
    uploads = sorted({"jobs/b/b.mp4", "done/jobs/a/a.mp4", "done/.parts/x/run/a/video.part", *others})
    aborted: set[str] = set()

    def call_s3(name: str, **words: Any) -> Any:
        if name == "abort_multipart_upload":
            return aborted.add(words["Key"])
        return {"Uploads": [{"Key": key, "UploadId": key} for key in uploads if key.startswith(words["Prefix"])]}

    monkeypatch.setattr(bucket_store, "bucket_filesystem", lambda scheme, settings: SimpleNamespace(call_s3=call_s3))
    BucketStore(output, StorageSettings()).prepare()
    assert aborted == own
