"""Inputs in buckets."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from birefnet_batch.errors import BirefnetBatchError, FetchError, InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.backoff import retried
from birefnet_batch.storage.facts import UNVERSIONED, SourceFacts, changed
from birefnet_batch.storage.filesystems import bucket_filesystem, bucket_reason, is_absent, is_permanent
from birefnet_batch.storage.remote import PassingError, Remote
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.url_redaction import redact

_CHUNK = 4 << 20
SLOWEST = 16 << 10
"""Bytes a second: of the buckets' libraries one cannot tell silence from an answer that comes slowly."""
_LISTED_A_SECOND = 100
"""Entries of a listing that any store tells."""
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime")


class BucketSource(Remote):
    """An object in an S3, Google Cloud Storage or Azure bucket."""

    def __init__(self, uri: str, settings: StorageSettings) -> None:
        self._uri = uri
        self._files = bucket_filesystem(scheme_of(uri), settings)
        self._path = uri.partition("://")[2]
        # The libraries have limits and tries of their own, of minutes and hours.
        self._timeout_s = settings.timeout_s

    def facts(self) -> SourceFacts:
        """See `Remote`."""
        with _errors(self._uri):
            return facts_of(self._uri, self._files.info(self._path, timeout=self._timeout_s))

    def read(self, start: int, facts: SourceFacts) -> Generator[bytes]:
        """See `Remote`. The version is looked at before and, by `confirm`, after: not every store takes a condition."""
        self.confirm(facts)
        assert facts.size is not None
        while start < facts.size:
            stop = min(facts.size, start + _CHUNK)
            with _errors(self._uri):
                patience_s = self._timeout_s + (stop - start) / SLOWEST
                chunk: bytes = self._files.cat_file(self._path, start=start, end=stop, timeout=patience_s)
            if len(chunk) != stop - start:
                self.confirm(facts)
                raise PassingError(f"{len(chunk)} of {stop - start} bytes came")
            start = stop
            yield chunk

    def confirm(self, facts: SourceFacts) -> None:
        """See `Remote`."""
        if self.facts() != facts:
            raise changed(redact(self._uri))


def folder_facts(uris: Sequence[str], settings: StorageSettings) -> dict[str, SourceFacts]:
    """The facts of objects of one folder, from one listing of it; those that are not there are left out.

    Raises:
        InputError: the folder cannot be listed.
    """
    scheme = scheme_of(uris[0])
    folder = uris[0].partition("://")[2].rpartition("/")[0]
    files = bucket_filesystem(scheme, settings)
    wanted = {uri.partition("://")[2]: uri for uri in uris}
    patience_s = settings.timeout_s + len(uris) / _LISTED_A_SECOND

    def listing() -> list[dict[str, Any]]:
        with _errors(f"{scheme}://{folder}"):
            entries: list[dict[str, Any]] = files.ls(folder, detail=True, timeout=patience_s)
            return entries

    return {
        wanted[entry["name"]]: facts_of(wanted[entry["name"]], entry)
        for entry in retried(listing, redact(f"{scheme}://{folder}"), settings.max_retries)
        if entry["name"] in wanted and entry.get("type") != "directory"
    }


def facts_of(uri: str, info: dict[str, Any]) -> SourceFacts:
    """The facts in an entry of a listing.

    Raises:
        InputError: it is no object.
    """
    if info.get("type") == "directory" or info.get("size") is None:
        raise InputError(f"{redact(uri)} is a folder; give manifest={redact(uri)} to run every video in it")
    version = next((f"{name.lower()}={info[name]}" for name in _VERSIONS if info.get(name)), None)
    return SourceFacts(info["size"], f"size={info['size']};{version or UNVERSIONED}", version)


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    try:
        yield
    except BirefnetBatchError:
        raise
    except Exception as error:
        reason = bucket_reason(uri, error)
        if is_permanent(error):
            kind = InputError if is_absent(error) else FetchError
            raise kind(f"{redact(uri)} cannot be read: {reason}") from None
        raise PassingError(reason) from None
