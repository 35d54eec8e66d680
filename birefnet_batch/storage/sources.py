"""Where inputs come from: a local file in place, anything else as a file in scratch space, hashed on the way."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError, InputError
from birefnet_batch.refusals import named_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.data_source import decode_data_uri
from birefnet_batch.storage.facts import SourceFacts, changed
from birefnet_batch.storage.fetch import Fetch
from birefnet_batch.storage.fetch_log import FetchLog
from birefnet_batch.storage.http_guard import check_scheme
from birefnet_batch.storage.lookup import local_facts, open_remote
from birefnet_batch.storage.scratch import unwritable
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import is_local, is_sequence, local_path
from birefnet_batch.url_redaction import redact

_CHUNK = 1 << 20


class LocalSource(ABC):
    """An input as a file on this machine, with the digest of its content.

    `path` may still be growing while it is fetched: `growing_file.open_file` reads it, and `complete` waits for all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def sha256(self) -> str:
        """The content's digest in hex; waits for it.

        Raises:
            BirefnetBatchError: the content cannot be had.
        """

    @property
    def error(self) -> BirefnetBatchError | None:
        """Why the content could not be fetched, when that is known already."""
        return None

    def cancel(self) -> None:
        """Nobody needs the content or its digest any more: leaving the context will not wait for it."""
        return

    def complete(self) -> None:
        """Wait until all of it is there, for readers that open `path` in their own way.

        Raises:
            BirefnetBatchError: it cannot be fetched.
        """
        self.sha256()


class _FileInPlace(LocalSource):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._sha256: str | None = None
        self._error = OSError("its reading was cancelled")
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._hash, name="hash-source", daemon=True)
        self._thread.start()

    def sha256(self) -> str:
        self._thread.join()
        if self._sha256 is None:
            raise InputError(f"{self.path} cannot be read: {named_reason(self._error)}")
        return self._sha256

    def complete(self) -> None:
        pass

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self.cancel()
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


class _Fetched(LocalSource):
    def __init__(self, fetch: Fetch) -> None:
        super().__init__(fetch.path)
        self._fetch = fetch

    def sha256(self) -> str:
        return self._fetch.sha256()

    @property
    def error(self) -> BirefnetBatchError | None:
        return self._fetch.error

    def cancel(self) -> None:
        self._fetch.cancel()


class _Made(LocalSource):
    def __init__(self, path: Path, sha256: str) -> None:
        super().__init__(path)
        self._sha256 = sha256

    def sha256(self) -> str:
        return self._sha256


@contextmanager
def open_source(uri: str, facts: SourceFacts, scratch: Path, settings: StorageSettings) -> Iterator[LocalSource]:
    """The input as a local file, for the time of the context; a fetched copy is removed at its end.

    Args:
        uri: the input.
        facts: what `source_facts` gave.
        scratch: a folder for a fetched copy.
        settings: limits and retries.

    Raises:
        InputError: it cannot be fetched, is larger than allowed, or changed while it was read.
        OutputError: there is no room for a copy, or it cannot be written.
    """
    check_scheme(uri, settings)
    # No name of the URL's: it may be anything, and decoders look at the content.
    target = scratch / "source"
    if is_local(uri):
        path = local_path(uri)
        source = _FileInPlace(path)
        try:
            yield source
            if local_facts(path) != facts:
                raise changed(path)
        finally:
            source.close()
    elif is_sequence(uri):
        from birefnet_batch.storage.sequence_source import pack_sequence, sequence_facts

        try:
            yield _Made(target, pack_sequence(local_path(uri), target, settings))
            if sequence_facts(local_path(uri), settings) != facts:
                raise changed(redact(uri))
        finally:
            target.unlink(missing_ok=True)
    elif scheme_of(uri) == "data":
        assert facts.version is not None
        try:
            try:
                target.write_bytes(decode_data_uri(uri, settings))
            except OSError as error:
                raise unwritable(error) from None
            yield _Made(target, facts.version)
        finally:
            target.unlink(missing_ok=True)
    else:
        with (
            closing(open_remote(uri, settings)) as remote,
            Fetch(uri, remote, facts, target, settings, FetchLog(uri)) as fetch,
        ):
            try:
                yield _Fetched(fetch)
            except BirefnetBatchError:
                # A reader that did not get its bytes says so; the transfer knows why.
                if fetch.error is not None:
                    raise fetch.error from None
                raise
            fetch.sha256()
