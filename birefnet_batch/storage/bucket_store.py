"""Results in a bucket: an object is there when its upload is completed, and not before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from birefnet_batch.bucket_prefix import bucket_prefix
from birefnet_batch.errors import OutputError
from birefnet_batch.output_files import JOBS, MANIFEST, PARTS, RUNS
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.bucket_source import facts_of
from birefnet_batch.storage.filesystems import (
    bucket_errors,
    bucket_filesystem,
    bucket_reason,
    causes,
    is_missing,
    is_not_offered,
    is_permanent,
    no_bucket,
)
from birefnet_batch.storage.stores import Store
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.url_redaction import redact

# Of an upload in several parts, the size of one: a larger file than two of these is sent so.
_PART_BYTES = 16 * 1024**2
# What of an output may be so large: results, records of runs, and parts that travel by way of it.
_UPLOADED = frozenset((JOBS, RUNS, MANIFEST, PARTS))
_log = logging.getLogger(__name__)


class BucketStore(Store):
    """Objects below a prefix of an S3, Google Cloud Storage or Azure bucket.

    Raises:
        ConfigError: no bucket is named, its URL has credentials, or the library for it is missing.
    """

    def __init__(self, location: str, settings: StorageSettings) -> None:
        self._scheme = scheme_of(location)
        self._prefix = bucket_prefix("output", location)
        self._files = bucket_filesystem(self._scheme, settings)
        self.shown = redact(f"{self._scheme}://{self._prefix}")

    def uri(self, relative: str) -> str:
        """See `Store`."""
        return f"{self.shown}/{relative}"

    def put_file(self, source: Path, relative: str, content_type: str = "") -> None:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "written", OutputError):
            size = source.stat().st_size
            self._files.put_file(str(source), self._at(relative), **self._upload(content_type))
            there = self._files.info(self._at(relative))["size"]
            if there != size:
                self._files.rm_file(self._at(relative))
                raise OutputError(
                    f"{self.uri(relative)} arrived with {there} of {size} bytes; it was removed, try again"
                )

    def put(self, relative: str, content: bytes) -> None:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "written", OutputError):
            self._files.pipe_file(self._at(relative), content)

    def create(self, relative: str, content: bytes) -> bool:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "written", OutputError):
            try:
                self._files.pipe_file(self._at(relative), content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _was_there(error):
                    return False
                raise
        return True

    def get(self, relative: str) -> bytes | None:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "read", OutputError):
            try:
                content: bytes = self._files.cat_file(self._at(relative))
            except FileNotFoundError:
                return None
        return content

    def version(self, relative: str) -> str | None:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "read", OutputError):
            try:
                return facts_of(self.uri(relative), self._files.info(self._at(relative))).version
            except FileNotFoundError:
                return None

    def remove(self, relative: str) -> None:
        """See `Store`."""
        with bucket_errors(self.uri(relative), "removed", OutputError):
            try:
                self._files.rm_file(self._at(relative))
            except FileNotFoundError:
                return

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        found = (path for path in self._below(folder) if "/" not in path)
        return sorted(found)

    def walk(self, folder: str) -> Iterator[tuple[str, str]]:
        """See `Store`."""
        for path in self._below(folder):
            subfolder, slash, name = path.partition("/")
            if slash and "/" not in name:
                yield subfolder, name

    def absence(self) -> str | None:
        """See `Store`."""
        return no_bucket(self.shown) if is_missing(self._files, self._prefix.partition("/")[0]) else None

    def check_folder(self, folder: str) -> None:
        """See `Store`: not looked at, for the lease of a bucket that takes nothing cannot be renewed either."""

    def prepare(self) -> None:
        """See `Store`. Google and Azure drop uncommitted uploads by themselves, after a week."""
        if self._scheme != "s3":
            return
        with bucket_errors(self.shown, "cleaned of unfinished uploads", OutputError):
            try:
                self._abort_uploads()
            except Exception as error:
                # Rights of their own, which a run needs for nothing else.
                if not (is_permanent(error) or is_not_offered(error)):
                    raise
                _log.warning(
                    "%s is not cleaned of uploads that killed runs left unfinished, which cost money unseen: %s. Allow "
                    "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload there, or have a lifecycle rule of the "
                    "bucket abort them",
                    self.shown,
                    bucket_reason(self.shown, error),
                )

    def _abort_uploads(self) -> None:
        bucket, _, prefix = self._prefix.partition("/")
        start = f"{prefix}/" if prefix else ""
        below: dict[str, Any] = {"Bucket": bucket, "Prefix": start}
        page: dict[str, Any] = {}
        while True:
            answer = self._files.call_s3("list_multipart_uploads", **below, **page)
            for upload in answer.get("Uploads") or ():
                # Others may be at uploads of their own below it, all the more where it is a bucket's root.
                if upload["Key"].removeprefix(start).partition("/")[0] in _UPLOADED:
                    self._files.call_s3(
                        "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
            if not answer.get("IsTruncated"):
                return
            page = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def _at(self, relative: str) -> str:
        return f"{self._prefix}/{relative}"

    def _below(self, folder: str) -> Iterator[str]:
        start = f"{self._at(folder).rstrip('/')}/"
        with bucket_errors(self.uri(folder), "listed", OutputError):
            try:
                found: list[str] = self._files.find(start)
            except FileNotFoundError:
                return
        for path in found:
            if path.startswith(start):
                yield path[len(start) :]

    def _upload(self, content_type: str) -> dict[str, Any]:
        if self._scheme == "s3":
            return {"chunksize": _PART_BYTES, **({"ContentType": content_type} if content_type else {})}
        if self._scheme == "gs":
            return {"chunksize": _PART_BYTES, **({"content_type": content_type} if content_type else {})}
        return {"content_settings": {"content_type": content_type}} if content_type else {}


def _was_there(error: BaseException) -> bool:
    """Whether a conditional write was refused because of its condition: S3 says 412, or 409 while another writes."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (409, 412):
                return True
        if getattr(cause, "code", None) in (409, 412, "409", "412"):
            return True
    return "PreconditionFailed" in str(error) or "At least one of the pre-conditions" in str(error)
