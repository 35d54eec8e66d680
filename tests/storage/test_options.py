"""What URLs and options of buckets may hold."""

from __future__ import annotations

import pytest

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import source_facts
from birefnet_batch.storage.options import check_version


@pytest.mark.parametrize("uri", ["s3://b/a.mp4?versionId=3sL4kq", "az://c/a.mp4?versionid=2024-01-01T00:00:00.0Z"])
def test_a_version_is_refused_where_the_present_one_would_be_read(uri: str) -> None:
    with pytest.raises(
        InputError, match=rf"names a version .* give storage.options.{uri[:2]}.version_aware=true to read"
    ):
        source_facts(uri, StorageSettings())
    check_version(uri, StorageSettings(options={uri[:2]: {"version_aware": True}}))


@pytest.mark.parametrize("uri", ["s3://b/a?versionid=1.mp4", "gs://b/a?versionId=1.mp4", "https://h/a?versionId=1"])
def test_what_names_no_version_of_that_kind_of_bucket_is_left_alone(uri: str) -> None:
    check_version(uri, StorageSettings())
