"""Where inputs come from.

A remote input is fetched to scratch space and hashed on the way; a local one is read in place and hashed beside
the work.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_batch.errors import BirefnetBatchError, InputError, OutputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.reasons import reason_of
from birefnet_batch.uris import is_local, local_path, redact, redact_text

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SourceFacts:
    """What tells one version of an input from another without reading it."""

    size: int | None
    """Bytes; None where a server does not say."""
    fingerprint: str
    """Size and mtime, or the ETag."""


class LocalSource:
    """An input as a file on this machine, with the digest of its content."""

    def __init__(self, path: Path, facts: SourceFacts, sha256: str | None = None) -> None:
        self.path = path
        self.facts = facts
        self._sha256 = sha256
        self._error: OSError | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        if sha256 is None:
            self._thread = threading.Thread(target=self._hash, name="hash-source", daemon=True)
            self._thread.start()

    def sha256(self) -> str:
        """The content's digest in hex; waits for it.

        Raises:
            InputError: the file cannot be read.
        """
        if self._thread is not None:
            self._thread.join()
        if self._sha256 is None:
            raise InputError(f"{self.path} cannot be read: {reason_of(self._error)}")
        return self._sha256

    def close(self) -> None:
        """Stop hashing."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def _hash(self) -> None:
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    if self._cancelled.is_set():
                        return
                    digest.update(chunk)
            self._sha256 = digest.hexdigest()
        except OSError as error:
            self._error = error


def source_facts(uri: str, settings: StorageSettings) -> SourceFacts:
    """Size and fingerprint of an input, from its folder entry or its HTTP headers.

    Raises:
        InputError: it is not there, or its server does not answer.
    """
    if is_local(uri):
        return _local_facts(local_path(uri))
    return _http_facts(uri, settings)


@contextmanager
def open_source(uri: str, facts: SourceFacts, scratch: Path, settings: StorageSettings) -> Iterator[LocalSource]:
    """The input as a local file, for the time of the context; a fetched copy is removed at its end.

    Raises:
        InputError: it cannot be fetched, is larger than allowed, or changed while it was read.
    """
    if is_local(uri):
        path = local_path(uri)
        source = LocalSource(path, facts)
        try:
            yield source
            if _local_facts(path) != facts:
                raise InputError(f"{path} changed while it was read; run it again when nothing writes to it")
        finally:
            source.close()
        return
    # No name of the URL's: it may be anything, and decoders look at the content.
    target = scratch / "source"
    try:
        sha256 = _fetch(uri, facts, target, settings)
        yield LocalSource(target, facts, sha256)
    finally:
        target.unlink(missing_ok=True)


def _local_facts(path: Path) -> SourceFacts:
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    if path.is_dir():
        raise InputError(f"{path} is a folder; give manifest={path} to run every video in it")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: permission denied for this user")
    return SourceFacts(stat.st_size, f"size={stat.st_size};mtime_ns={stat.st_mtime_ns}")


def _http(settings: StorageSettings) -> Any:
    import aiohttp
    import fsspec

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.timeout_s, sock_read=settings.timeout_s)
    return fsspec.filesystem("http", client_kwargs={"timeout": timeout}, use_listings_cache=False)


def _http_facts(uri: str, settings: StorageSettings) -> SourceFacts:
    with _http_errors(uri):
        info = _http(settings).info(uri)
    size = info.get("size")
    version = next(
        (f"{name.lower()}={info[name]}" for name in ("ETag", "Last-Modified") if info.get(name)),
        "unversioned",
    )
    return SourceFacts(size, f"size={size};{version}")


def _fetch(uri: str, facts: SourceFacts, target: Path, settings: StorageSettings) -> str:
    limit = settings.max_input_bytes
    digest, count = hashlib.sha256(), 0
    too_large = f"{redact(uri)} is larger than storage.max_input_bytes={limit}; raise the setting if that is wanted"
    if facts.size is not None and facts.size > limit:
        raise InputError(too_large)
    with (
        _http_errors(uri),
        _http(settings).open(uri, "rb", block_size=0) as remote,
        target.open("wb") as file,
    ):
        while chunk := remote.read(_CHUNK):
            count += len(chunk)
            if count > limit:
                raise InputError(too_large)
            digest.update(chunk)
            file.write(chunk)
    if facts.size is not None and count != facts.size:
        raise InputError(f"{redact(uri)} ended after {count} of {facts.size} bytes; try again")
    return digest.hexdigest()


@contextmanager
def _http_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except BirefnetBatchError:
        raise
    except Exception as error:
        # fsspec reports whatever went wrong as FileNotFoundError and keeps the reason as its cause.
        cause = error.__cause__ or error
        status = getattr(cause, "status", None)
        if status is not None and getattr(cause, "request_info", None) is not None:
            message = getattr(cause, "message", "")
            reason = f"the server answered {status} {message}".strip()
        elif type(cause).__name__ in ("ClientPayloadError", "ServerDisconnectedError"):
            reason = "the connection ended before the whole file had come"
        elif isinstance(cause, FileNotFoundError):
            reason = "the server answered 404 Not Found"
        elif isinstance(cause, TimeoutError):
            reason = "the server did not answer in time (storage.timeout_s)"
        elif isinstance(cause, OSError) and not isinstance(cause, ConnectionError) and cause.filename:
            raise OutputError(f"Scratch space cannot be written: {reason_of(cause)}") from None
        else:
            reason = redact_text(" ".join(str(cause).split())) or type(cause).__name__
        raise InputError(f"{redact(uri)} cannot be fetched: {reason}; check the URL and try again") from None
