"""A store that machines share: a folder or a bucket, read first and filled after."""

from __future__ import annotations

import json
import logging
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from birefnet_batch.digests import file_sha256
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.filesystems import bucket_filesystem
from birefnet_batch.uris import BUCKET_SCHEMES, bucket_path, redact, scheme_of

_log = logging.getLogger(__name__)
_ENTRY = "entry.json"


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
        scheme = scheme_of(url)
        if scheme in BUCKET_SCHEMES:
            self._files: Any = bucket_filesystem(scheme, storage or StorageSettings())
            self._root = bucket_path(url, ConfigError).rstrip("/")
            return
        try:
            found: tuple[Any, str] = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"engine.shared_store={self._shown} cannot be used: {error}") from None
        self._files, self._root = found[0], found[1].rstrip("/")

    def fetch(self, artifact: Artifact, folder: Path) -> bool:
        """Copy an engine and its entry into `folder`; whether it is there and whole."""
        remote = f"{self._root}/{artifact.key}"
        path = folder / artifact.file_name
        try:
            entry = json.loads(self._files.cat_file(f"{remote}/{_ENTRY}"))
            self._files.get_file(f"{remote}/{artifact.file_name}", str(path))
            whole: bool = file_sha256(path) == entry["sha256"]
            if not whole:
                _log.warning("the %s in the shared store %s is damaged: it is made again", artifact, self._shown)
        except FileNotFoundError:
            whole = False
        except Exception as error:
            # fsspec's file systems raise errors of their own libraries.
            self._unreachable(error)
            whole = False
        if whole:
            (folder / _ENTRY).write_text(json.dumps(entry, indent=2) + "\n", "utf-8")
            _log.info("took the %s from the shared store %s", artifact, self._shown)
        else:
            path.unlink(missing_ok=True)
        return whole

    def put(self, artifact: Artifact, folder: Path) -> None:
        """Give an engine to the others; its entry comes last, so that nobody sees half of it."""
        remote = f"{self._root}/{artifact.key}"
        try:
            self._files.makedirs(remote, exist_ok=True)
            for name in (artifact.file_name, _ENTRY):
                passing = f"{remote}/.{name}-{secrets.token_hex(4)}"
                try:
                    self._files.put_file(str(folder / name), passing)
                    self._files.mv(passing, f"{remote}/{name}")
                finally:
                    with suppress(Exception):
                        if self._files.exists(passing):
                            self._files.rm_file(passing)
        except Exception as error:
            self._unreachable(error)

    def offer(self, artifact: Artifact, folder: Path) -> None:
        """Put an engine there where there is none yet."""
        try:
            there = self._files.exists(f"{self._root}/{artifact.key}/{_ENTRY}")
        except Exception as error:
            self._unreachable(error)
            return
        if not there:
            self.put(artifact, folder)

    def _unreachable(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        _log.warning("the shared engine store %s cannot be used: %s; this machine builds its own", self._shown, reason)
