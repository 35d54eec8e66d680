"""A store that machines share: a folder or a bucket, read first and filled after."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from birefnet_batch.digests import file_sha256
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.store_entry import ENTRY, Entry, RecordError, read_record
from birefnet_batch.errors import ConfigError
from birefnet_batch.refusals import one_line
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.bucket_source import SLOWEST
from birefnet_batch.storage.filesystems import bucket_filesystem, bucket_reason
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import bucket_path
from birefnet_batch.url_redaction import redact, redact_text

_log = logging.getLogger(__name__)
# An object is there when all of it is; and a folder made in a bucket that there is not would make the bucket.
_OF_OBJECTS = (*BUCKET_SCHEMES, "s3a", "gcs", "abfs", "abfss")
# What fails after as many seconds is not asked again.
_LONG_S = 5.0


class SharedStore:
    """Engines below a URL of any scheme that fsspec knows.

    It only saves time: where it cannot be reached, or holds a damaged file, a machine builds for itself and says so.

    Args:
        url: a path, `file://`, `s3://`, `gs://`, `az://` or another URL.
        storage: options of `s3://`, `gs://` and `az://`; None is the defaults.

    Raises:
        ConfigError: the scheme is unknown, its package is not installed, or refuses the options.
    """

    def __init__(self, url: str, storage: StorageSettings | None = None) -> None:
        import fsspec

        self._shown = redact(url)
        self._scheme = scheme_of(url)
        self._files: Any = None
        """None where it cannot be asked, or has not answered once: nobody waits for it again and again."""
        self._root = ""
        self._timeout_s: float | None = None
        self._told: set[str] = set()
        """What kinds of errors were said: each engine would say the same of it up to three times."""
        if self._scheme in BUCKET_SCHEMES:
            settings = storage or StorageSettings()
            self._files = bucket_filesystem(self._scheme, settings)
            self._root = bucket_path(url, ConfigError).rstrip("/")
            self._timeout_s = settings.timeout_s
            return
        try:
            self._files, root = fsspec.url_to_fs(url)
            self._root = root.rstrip("/")
        except (ImportError, ValueError) as error:
            # A ValueError's words may repeat a piece of a password.
            reason = str(error) if isinstance(error, ImportError) else "no readable URL of a scheme that fsspec knows"
            raise ConfigError(
                f"engine.shared_store={self._shown} cannot be used: {reason}; give a folder, or an s3://, gs:// or "
                "az:// location"
            ) from None
        except Exception as error:
            # Some file systems connect at once.
            self._unreachable(error)

    def fetch(self, artifact: Artifact, folder: Path) -> bool:
        """Copy an engine and its entry into `folder`; whether it is there and whole."""
        if self._files is None:
            return False
        remote = f"{self._root}/{artifact.key}"
        path = folder / artifact.file_name
        whole, began = False, time.monotonic()
        try:
            entry = read_record(self._files.cat_file(f"{remote}/{ENTRY}", **self._patience()), artifact.key)
            place = f"{remote}/{artifact.file_name}"
            size = 0 if self._timeout_s is None else self._files.info(place, **self._patience())["size"]
            self._files.get_file(place, str(path), **self._patience(size))
            whole = file_sha256(path) == entry["sha256"]
            if not whole:
                self._damaged(artifact)
        except FileNotFoundError:
            pass
        except RecordError:
            self._damaged(artifact)
        except Exception as error:
            # fsspec's file systems raise errors of their own libraries.
            self._unreachable(error, began)
        if whole:
            (folder / ENTRY).write_text(json.dumps(entry, indent=2) + "\n", "utf-8")
            _log.info("took the %s from the shared store %s", artifact, self._shown)
        else:
            path.unlink(missing_ok=True)
        return whole

    def _damaged(self, artifact: Artifact) -> None:
        _log.warning("the %s in the shared store %s is damaged: it is made again", artifact, self._shown)

    def put(self, artifact: Artifact, folder: Path) -> None:
        """Give an engine to the others; its entry comes last, so that nobody sees half of it."""
        if self._files is None:
            return
        remote, began = f"{self._root}/{artifact.key}", time.monotonic()
        try:
            if self._scheme not in _OF_OBJECTS:
                self._files.makedirs(remote, exist_ok=True)
            for name in (artifact.file_name, ENTRY):
                self._put_file(folder / name, remote)
        except Exception as error:
            self._unreachable(error, began)

    def _put_file(self, path: Path, remote: str) -> None:
        if self._scheme in _OF_OBJECTS:
            self._files.put_file(str(path), f"{remote}/{path.name}", **self._patience(path.stat().st_size))
            return
        passing = f"{remote}/.{path.name}-{secrets.token_hex(4)}"
        try:
            self._files.put_file(str(path), passing)
            self._files.mv(passing, f"{remote}/{path.name}")
        finally:
            with suppress(Exception):
                if self._files.exists(passing):
                    self._files.rm_file(passing)

    def offer(self, here: Entry) -> None:
        """Put an engine there where there is none yet, or one whose record or length shows that it is damaged."""
        if self._files is None:
            return
        artifact, began = Artifact(**here.artifact), time.monotonic()
        try:
            if self._lacks(artifact, here):
                self.put(artifact, here.path.parent)
        except Exception as error:
            self._unreachable(error, began)

    def _lacks(self, artifact: Artifact, here: Entry) -> bool:
        remote = f"{self._root}/{artifact.key}"
        try:
            there = read_record(self._files.cat_file(f"{remote}/{ENTRY}", **self._patience()), artifact.key)
            size = self._files.info(f"{remote}/{artifact.file_name}", **self._patience())["size"]
        except FileNotFoundError:
            return True
        except RecordError:
            damaged = True
        else:
            # One that was built elsewhere may have other bytes.
            damaged = there["sha256"] == here.facts["sha256"] and size != here.size
        # What is damaged here mends nothing.
        if not (damaged and here.intact()):
            return False
        self._damaged(artifact)
        return True

    def _patience(self, size: int = 0) -> dict[str, float]:
        """How long a call may take that carries so many bytes; without it a bucket's library tries for half an hour."""
        return {} if self._timeout_s is None else {"timeout": self._timeout_s + size / SLOWEST}

    def _unreachable(self, error: Exception, began: float | None = None) -> None:
        # Libraries try a refused connection for a minute before they say so.
        if isinstance(error, TimeoutError) or (began is not None and time.monotonic() - began > _LONG_S):
            self._files = None
        if self._scheme in BUCKET_SCHEMES:
            reason = bucket_reason(self._shown, error)
        else:
            reason = one_line(redact_text(str(error)), 200) or type(error).__name__
        level = logging.DEBUG if type(error).__name__ in self._told else logging.WARNING
        self._told.add(type(error).__name__)
        said = "the shared engine store %s cannot be used: %s; this machine builds its own"
        _log.log(level, said, self._shown, reason)
