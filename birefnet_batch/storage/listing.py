"""The objects below a place in a bucket."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Collection

from birefnet_batch.errors import InputError
from birefnet_batch.other_outputs import log_left_out, names_results, results_among
from birefnet_batch.output_files import JOBS
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.filesystems import bucket_errors, bucket_filesystem, is_missing, no_bucket
from birefnet_batch.storage.http_guard import check_scheme
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import bucket_path
from birefnet_batch.url_redaction import redact


def list_videos(
    location: str, suffixes: Collection[str], settings: StorageSettings, own: str | None = None
) -> list[str]:
    """The URLs of a bucket's objects that are videos by their names, sorted.

    Hidden ones are left out, and results of other runs.

    Args:
        location: `s3://bucket/folder`, or with a pattern: `s3://bucket/folder/*/a*.mp4` (`*` takes slashes too, and
            `**/` is any folders or none). A folder that has the very name is no pattern.
        suffixes: lower-case suffixes of videos.
        settings: how the bucket is reached.
        own: the run's output, of which nothing is an input.

    Raises:
        InputError: the bucket cannot be listed, its URL has credentials, or its scheme is closed.
    """
    check_scheme(location, settings)
    scheme = scheme_of(location)
    path = bucket_path(location).rstrip("/")
    folder = path
    while glob.has_magic(folder):
        folder = folder.rpartition("/")[0]
    files = bucket_filesystem(scheme, settings)
    with bucket_errors(location, "listed", InputError):
        try:
            found: list[str] = files.find(folder)
        except FileNotFoundError:
            found = []
        # A store that lists nothing says the same of an empty folder and of a bucket that is not there.
        if not found and is_missing(files, folder.partition("/")[0]):
            raise InputError(f"{redact(location)} cannot be listed: {no_bucket(location)}")
    if any(name.startswith(f"{path}/") for name in found):
        folder = path
    matches = _pattern(path).fullmatch
    videos = [
        name
        for name in sorted(found)
        if (name.startswith(f"{path}/") if folder == path else matches(name))
        and f".{name.rpartition('.')[2].lower()}" in suffixes
        and not any(part.startswith(".") for part in name.removeprefix(folder).split("/"))
        and not (own is not None and f"{scheme}://{name}".startswith(own))
    ]
    results = () if names_results(path.removeprefix(folder)) else results_among(found, folder)
    left_out = [place for place in results if any(name.startswith(place) for name in videos)]
    log_left_out([f"{scheme}://{place.removesuffix(f'/{JOBS}/')}" for place in left_out])
    return [f"{scheme}://{name}" for name in videos if not name.startswith(results)]


def _pattern(path: str) -> re.Pattern[str]:
    # As in a shell `a/**/b` is `a/b` too, which the library's `*` alone would leave out.
    # What the library gives ends in \Z or, from Python 3.14 on, \z.
    parts = (fnmatch.translate(part)[:-2] for part in re.split(r"(?<=/)(?:\*\*/)+", path))
    return re.compile(r"(?s:.*/)?".join(parts))
