"""Where the parts of long videos travel between machines that share no folder: a bucket, or a folder that all see.

Below `<location>/<digest of the output>/<run id>/`: who holds the output's lease may remove what dead runs left there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from birefnet_batch.errors import OutputError
from birefnet_batch.settings import Settings
from birefnet_batch.storage.filesystems import bucket_errors, bucket_filesystem
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.storage.output import Output
from birefnet_batch.uris import BUCKET_SCHEMES, local_path, scheme_of


def shared_folder(settings: Settings, output: Output, run_id: str) -> Path | None:
    """The folder that all workers see, where there is one: then parts need not travel."""
    given = settings.executor.scratch
    if given is None:
        return output.scratch / "parts" if isinstance(output.store, LocalStore) else None
    if scheme_of(given) in BUCKET_SCHEMES:
        return None
    path = local_path(given) if scheme_of(given) else Path(given).expanduser().absolute()
    return path / _digest(output) / run_id


class PartStore:
    """Parts in a bucket.

    Args:
        settings: the run's; `executor.scratch`, or the output itself, says where.
        output: the run's.
        run_id: the run.
    """

    def __init__(self, settings: Settings, output: Output, run_id: str) -> None:
        given = settings.executor.scratch
        location = (given or output.uri(".parts")).rstrip("/")
        self._scheme = scheme_of(location)
        self._files = bucket_filesystem(self._scheme, settings.storage)
        self._all = f"{location.partition('://')[2]}/{_digest(output)}"
        self._own = f"{self._all}/{run_id}"

    def put(self, job_id: str, paths: Iterable[Path]) -> None:
        """Hand parts over.

        Raises:
            OutputError: they cannot be written.
        """
        for path in paths:
            with bucket_errors(self._uri(job_id, path.name), "written", OutputError):
                self._files.put_file(str(path), self._at(job_id, path.name))

    def get(self, job_id: str, paths: Iterable[Path]) -> None:
        """Fetch the parts that are not here yet.

        Raises:
            OutputError: they cannot be read.
        """
        for path in paths:
            if path.exists():
                continue
            coming = path.with_name(f"{path.name}.coming")
            with bucket_errors(self._uri(job_id, path.name), "read", OutputError):
                self._files.get_file(self._at(job_id, path.name), str(coming))
            coming.replace(path)

    def drop(self, job_id: str) -> None:
        """Remove a job's parts."""
        self._remove(f"{self._own}/{job_id}")

    def clean(self) -> None:
        """Remove what this output's runs left, this one's parts too; for the holder of the output's lease."""
        self._remove(self._all)

    def _remove(self, prefix: str) -> None:
        with bucket_errors(f"{self._scheme}://{prefix}", "removed", OutputError):
            try:
                self._files.rm(prefix, recursive=True)
            except FileNotFoundError:
                return

    def _at(self, job_id: str, name: str) -> str:
        return f"{self._own}/{job_id}/{name}"

    def _uri(self, job_id: str, name: str) -> str:
        return f"{self._scheme}://{self._at(job_id, name)}"


def clean_shared(settings: Settings, output: Output, run_id: str) -> None:
    """Remove the parts of this output's runs, dead ones and this one; for the holder of the output's lease."""
    folder = shared_folder(settings, output, run_id)
    if folder is None:
        PartStore(settings, output, run_id).clean()
    elif settings.executor.scratch is not None:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _digest(output: Output) -> str:
    return hashlib.sha256(output.uri("").encode()).hexdigest()[:16]
