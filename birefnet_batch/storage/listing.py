"""The objects below a place in a bucket."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Collection

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.filesystems import bucket_errors, bucket_filesystem
from birefnet_batch.storage.http_guard import check_scheme
from birefnet_batch.uris import scheme_of


def list_videos(location: str, suffixes: Collection[str], settings: StorageSettings) -> list[str]:
    """The URLs of a bucket's objects that are videos by their names, sorted; hidden ones are left out.

    Args:
        location: `s3://bucket/folder`, or with a pattern: `s3://bucket/folder/*/a*.mp4` (`*` takes slashes too).
        suffixes: lower-case suffixes of videos.
        settings: how the bucket is reached.

    Raises:
        InputError: the bucket cannot be listed, or its scheme is closed.
    """
    check_scheme(location, settings)
    scheme = scheme_of(location)
    path = location.partition("://")[2].rstrip("/")
    pattern = glob.has_magic(path)
    folder = path
    while glob.has_magic(folder):
        folder = folder.rpartition("/")[0]
    files = bucket_filesystem(scheme, settings)
    with bucket_errors(location, "listed", InputError):
        try:
            found: list[str] = files.find(folder)
        except FileNotFoundError:
            found = []
    return [
        f"{scheme}://{name}"
        for name in sorted(found)
        if (fnmatch.fnmatchcase(name, path) if pattern else name.startswith(f"{folder}/"))
        and f".{name.rpartition('.')[2].lower()}" in suffixes
        and not any(part.startswith(".") for part in name.removeprefix(folder).split("/"))
    ]
