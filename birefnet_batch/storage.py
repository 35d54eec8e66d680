"""Where inputs come from and where results go: disk and HTTP in, disk out.

A remote input is fetched to scratch space and hashed on the way; a local one is read in place and hashed beside
the work. A result appears under its final name only when it is whole: temporary name, fsync, rename.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from birefnet_batch.errors import BirefnetBatchError, ConfigError, InputError, OutputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uris import is_local, local_path, redact, redact_text, scheme_of

_CHUNK = 1 << 20
_LOCK = "run.lock"


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
            raise InputError(f"{self.path} cannot be read: {_reason(self._error)}")
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
        raise InputError(f"{path} cannot be read: {_reason(error)}") from None
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
            raise OutputError(f"Scratch space cannot be written: {_reason(cause)}") from None
        else:
            reason = redact_text(" ".join(str(cause).split())) or type(cause).__name__
        raise InputError(f"{redact(uri)} cannot be fetched: {reason}; check the URL and try again") from None


def _reason(error: Exception | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}{f' ({error.filename})' if error.filename else ''}"
    return str(error)


class Output:
    """A folder of results. Files appear in it whole or not at all.

    Args:
        location: a path or a file:// URI.
        run_id: names this run's own scratch folder below it.
        scratch: a folder for fetched inputs and parts; by default below the output.

    Raises:
        ConfigError: the location is not on this machine's disk.
    """

    def __init__(self, location: str, run_id: str, scratch: str | None = None) -> None:
        scheme = scheme_of(location)
        if scheme not in ("", "file"):
            raise ConfigError(
                f"output is {redact(location)!r}; this version writes to folders: give a path or a file:// URI"
            )
        path = local_path(location) if scheme else Path(location).expanduser()
        # Without `..`, whatever the working folder: the results' URLs are made of it.
        self.root = Path(os.path.normpath(path.absolute()))
        self._staging = self.root / ".scratch" / run_id
        self.scratch = Path(scratch).expanduser().absolute() / run_id if scratch else self._staging
        self._folders = list(dict.fromkeys((self._staging, self.scratch)))
        self._locks = [FileLock(folder / _LOCK, timeout=0) for folder in self._folders]

    def __enter__(self) -> Output:
        """Make the folders, prove that they can be written, and remove what dead runs left.

        Raises:
            OutputError: they cannot be written.
        """
        try:
            for folder, lock in zip(self._folders, self._locks, strict=True):
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
                _remove_abandoned(folder)
        except OSError as error:
            raise OutputError(
                f"output={self.root} cannot be written: {_reason(error)}; choose another folder or mend its rights"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        for folder, lock in zip(self._folders, self._locks, strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            # It stays while another run works there, or when it is a folder of the user's own that has more in it.
            with suppress(OSError):
                folder.parent.rmdir()

    def staged(self, name: str) -> Path:
        """A temporary path on the output's file system, for a file that `publish` renames."""
        return self._staging / name

    def path(self, relative: str) -> Path:
        """Where a file with this name below the output is or will be."""
        return self.root / relative

    def publish(self, staged: Path, relative: str) -> None:
        """Give a finished file its final name, durably.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        target = self.path(relative)
        try:
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {_reason(error)}") from None

    def write(self, relative: str, content: bytes) -> None:
        """Write a small file whole, replacing the one that is there.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        staged = self.staged(f"{threading.get_ident():x}.tmp")
        try:
            staged.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{self.path(relative)} cannot be written: {_reason(error)}") from None
        self.publish(staged, relative)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        self.path(relative).unlink(missing_ok=True)

    def read(self, relative: str) -> bytes | None:
        """A file's content, or None where there is none."""
        try:
            return self.path(relative).read_bytes()
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        """The names in a folder; none where it does not exist."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)))
        except FileNotFoundError:
            return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(own: Path) -> None:
    """Remove the scratch folders of runs whose lock nobody holds: the system frees a dead process's locks."""
    for entry in own.parent.iterdir():
        if entry == own or not (entry / _LOCK).exists():
            continue
        try:
            with FileLock(entry / _LOCK, timeout=0):
                shutil.rmtree(entry, ignore_errors=True)
        except Timeout:
            continue
