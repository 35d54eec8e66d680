"""A manifest file in a bucket -> its entries, and what their relative paths name there."""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from birefnet_batch.errors import InputError, ManifestError
from birefnet_batch.manifest_entries import Entry, unreadable
from birefnet_batch.manifest_file import MANIFEST_SUFFIXES, read_file
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import bucket_path, canonical_uri


def is_file_in_bucket(location: str) -> bool:
    """Whether a bucket's URL names a manifest file by its suffix; a pattern or a folder is none."""
    key = bucket_path(location).partition("/")[2]
    # A pattern of manifests names no videos, so that brackets are part of a name.
    suffix = "" if key.endswith("/") or re.search("[*?]", key) else PurePosixPath(key).suffix
    return suffix.lower() in MANIFEST_SUFFIXES


def read_file_in_bucket(location: str, storage: StorageSettings) -> tuple[Iterable[Entry], Mapping[str, Any]]:
    """The entries of a manifest file in a bucket, and the request fields that they start from.

    Raises:
        ManifestError: it cannot be read as a whole.
        InputError: the bucket cannot be read, the URL has credentials, or its scheme is closed.
    """
    from birefnet_batch.storage.filesystems import bucket_errors, bucket_filesystem
    from birefnet_batch.storage.http_guard import check_scheme

    check_scheme(location, storage)
    path = bucket_path(location)
    files = bucket_filesystem(scheme_of(location), storage)
    with tempfile.TemporaryDirectory(prefix="birefnet-batch-") as folder:
        local = Path(folder) / PurePosixPath(path).name
        with bucket_errors(location, "read", InputError):
            local.write_bytes(files.cat_file(path))
        try:
            return read_file(local)
        except ManifestError as error:
            raise unreadable(location, *error.problems) from None


def uri_in_bucket(url: str, folder: str) -> str:
    """The canonical URI of an entry's URL, or of its path relative to the manifest's folder, `s3://bucket/folder`.

    Raises:
        InputError: the URL cannot be read, or the path leaves the bucket.
    """
    uri = canonical_uri(url, Path("/"))
    if scheme_of(url) or url.startswith(("/", "~")):
        return uri
    bucket, *_ = bucket_path(folder).split("/")
    path = posixpath.normpath(posixpath.join(bucket_path(folder), url))
    if not path.startswith(f"{bucket}/"):
        raise InputError(f"{url} is no path in the manifest's bucket {bucket}; give the video's URL")
    return canonical_uri(f"{scheme_of(folder)}://{path}", Path("/"))
