"""What is made of a bucket's answers, without a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import backoff, bucket_source, open_source, source_facts

SIZE, URI, SETTINGS = (9 << 20) + 5, "s3://bucket/clip.mp4", StorageSettings()


class Bucket:
    """One object of a constant length, whose bytes are its version's number."""

    def __init__(self) -> None:
        self.version = 1
        self.ends: list[int] = []
        """Of the ranges that were read."""
        self.replaced_after = SIZE + 1
        self.unwell: list[Exception] = []
        """What is raised when all was read and the object is asked for."""

    def info(self, path: str) -> dict[str, Any]:
        if SIZE in self.ends and self.unwell:
            raise self.unwell.pop()
        return {"name": path, "size": SIZE, "type": "file", "ETag": f'"v{self.version}"'}

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        content = bytes([self.version]) * (end - start)
        self.ends.append(end)
        if end >= self.replaced_after:
            self.version = 2
        return content


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(bucket_source, "bucket_filesystem", lambda scheme, settings: bucket)
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)
    return bucket


def test_an_object_that_is_replaced_while_it_is_read_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    facts = source_facts(URI, SETTINGS)
    bucket.replaced_after = 8 << 20
    with pytest.raises(InputError, match="changed while it was read"), open_source(URI, facts, tmp_path, SETTINGS):
        pass
    assert SIZE in bucket.ends


def test_a_bucket_that_is_asked_in_vain_whether_all_was_of_one_version_is_asked_again(
    bucket: Bucket, tmp_path: Path
) -> None:
    facts = source_facts(URI, SETTINGS)
    bucket.unwell = [ConnectionError("reset")] * 2
    with open_source(URI, facts, tmp_path, SETTINGS) as source:
        source.complete()
        assert source.path.read_bytes() == b"\1" * SIZE
    assert not bucket.unwell
