"""What is made of a bucket's answers, without a bucket."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import FetchError, InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import backoff, bucket_source, open_source, source_facts
from birefnet_batch.storage.bucket_source import folder_facts
from birefnet_batch.storage.filesystems import bucket_filesystem

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
        self.patience: set[float] = set()

    def info(self, path: str, timeout: float) -> dict[str, Any]:
        self.patience.add(timeout)
        if SIZE in self.ends and self.unwell:
            raise self.unwell.pop()
        return {"name": path, "size": SIZE, "type": "file", "ETag": f'"v{self.version}"'}

    def cat_file(self, path: str, start: int, end: int, timeout: float) -> bytes:
        self.patience.add(timeout)
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


def test_an_object_may_come_slowly_and_not_take_for_ever(bucket: Bucket, tmp_path: Path) -> None:
    facts = source_facts(URI, SETTINGS)
    with open_source(URI, facts, tmp_path, SETTINGS):
        pass
    assert min(bucket.patience) == SETTINGS.timeout_s
    assert SETTINGS.timeout_s + 60 < max(bucket.patience) < SETTINGS.timeout_s + 600


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.timeout(150)
def test_a_bucket_that_is_silent_is_given_up_after_so_many_tries_of_so_many_seconds(scheme: str) -> None:
    pytest.importorskip({"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}[scheme])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        key = base64.b64encode(b"key").decode()
        options: dict[str, Any] = {
            "s3": {"endpoint_url": url, "key": "a", "secret": "b"},
            "gs": {"endpoint_url": url, "token": "anon"},
            "az": {"connection_string": f"AccountName=a;AccountKey={key};BlobEndpoint={url}/a;"},
        }
        settings = StorageSettings(timeout_s=1, max_retries=1, options={scheme: options[scheme]})
        with pytest.raises(FetchError, match=r"did not answer in time .* given up after 2 tries"):
            source_facts(f"{scheme}://bucket/clip.mp4", settings)
        with pytest.raises(FetchError, match=r"did not answer in time .* given up after 2 tries"):
            folder_facts([f"{scheme}://bucket/folder/clip.mp4"], settings)


def test_googles_storage_may_be_silent_for_as_long_as_the_setting_says_in_listings_and_uploads_too() -> None:
    pytest.importorskip("gcsfs")
    settings = StorageSettings(timeout_s=7, options={"gs": {"token": "anon"}})
    limits = bucket_filesystem("gs", settings).requests_timeout
    assert (limits.sock_read, limits.sock_connect, limits.total) == (7, 7, None)
