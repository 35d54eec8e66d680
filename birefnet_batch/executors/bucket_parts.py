"""Parts of long videos in a bucket, for machines that share no folder."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from birefnet_batch.bucket_prefix import bucket_prefix
from birefnet_batch.errors import OutputError
from birefnet_batch.executors.parts import Parts
from birefnet_batch.output_files import PARTS
from birefnet_batch.settings import Settings
from birefnet_batch.storage.filesystems import bucket_errors, bucket_filesystem
from birefnet_batch.storage.finished_parts import finished_names, record_names
from birefnet_batch.storage.output import Output
from birefnet_batch.uri_schemes import scheme_of

# Objects that are moved or removed at a time: the driver waits, and a long video has a thousand.
_AT_ONCE = 16
_log = logging.getLogger(__name__)


class BucketParts(Parts):
    """Parts in a bucket.

    Args:
        settings: the run's; `executor.scratch`, or the output itself, says where.
        output: the run's.
        run_id: the run.

    Raises:
        ConfigError: no bucket is named, its URL has credentials, or the library for it is missing.
    """

    def __init__(self, settings: Settings, output: Output, run_id: str) -> None:
        location = settings.executor.scratch or output.uri(PARTS)
        self._scheme = scheme_of(location)
        self._files = bucket_filesystem(self._scheme, settings.storage)
        self._all = f"{bucket_prefix('executor.scratch', location)}/{output.digest}"
        self._run_id = run_id
        self._own = f"{self._all}/{run_id}"

    def folder(self, copies: Path) -> Path:
        """See `Parts`."""
        return copies

    def put(self, job_id: str, paths: Iterable[Path]) -> None:
        """See `Parts`."""
        for path in paths:
            with bucket_errors(self._uri(job_id, path.name), "written", OutputError):
                self._files.put_file(str(path), self._at(job_id, path.name))

    def get(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """See `Parts`."""
        # A part without a record is a killed worker's, and may be half.
        whole = set(finished_names(path.name for path in folder.iterdir()))
        for name in names:
            if name in whole:
                continue
            coming = folder / f"{name}.coming"
            with bucket_errors(self._uri(job_id, name), "read", OutputError):
                self._files.get_file(self._at(job_id, name), str(coming))
            coming.replace(folder / name)

    def get_records(self, job_id: str, folder: Path) -> set[str]:
        """See `Parts`."""
        there = self._below(f"{self._own}/{job_id}")
        names = finished_names(there)
        for name in set(names).difference(finished_names(path.name for path in folder.iterdir())):
            # With its record beside it a half part would count as whole.
            (folder / name).unlink(missing_ok=True)
        self.get(job_id, folder, record_names(names))
        return set(there)

    def drop_records(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """See `Parts`."""
        for name in names:
            # Here first: one that is left there alone is fetched again, and removed then.
            (folder / name).unlink(missing_ok=True)
            self._remove_one(self._at(job_id, name))

    def inherit(self) -> None:
        """See `Parts`."""
        dead = {run_id: jobs for run_id, jobs in self._names().items() if run_id != self._run_id}
        places: dict[str, dict[str, str]] = defaultdict(dict)
        # Of a segment that a run was taking over when it was stopped, it has some files and the run before it the rest.
        for finished in (True, False):
            for run_id in sorted(dead, reverse=True):
                for job_id, names in dead[run_id].items():
                    for name in finished_names(names) if finished else names:
                        places[job_id].setdefault(name, run_id)
        parts: list[str] = []
        records: list[str] = []
        for job_id, runs in places.items():
            names = finished_names(runs)
            last = set(record_names(names))
            for name in names:
                (records if name in last else parts).append(f"{self._all}/{runs[name]}/{job_id}/{name}")
        if records:
            _log.info("%d finished segments of earlier runs are taken over", len(records))
        # Where there is a record its parts are there.
        for paths in (parts, records):
            self._at_once(self._take_over, paths)
        for run_id in dead:
            self._remove(f"{self._all}/{run_id}")

    def drop(self, job_id: str) -> None:
        """See `Parts`."""
        self._remove(f"{self._own}/{job_id}")

    def clean(self, over: bool) -> None:
        """See `Parts`."""
        if over:
            self._remove(self._own)
            return
        for job_id, names in self._names().get(self._run_id, {}).items():
            self._remove_all(self._at(job_id, name) for name in set(names) - set(finished_names(names)))

    def _names(self) -> dict[str, dict[str, list[str]]]:
        """The files of this output's runs: by run, by job."""
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for path in self._below(self._all):
            run_id, _, rest = path.partition("/")
            job_id, slash, name = rest.partition("/")
            if slash:
                found[run_id][job_id].append(name)
        return found

    def _below(self, folder: str) -> list[str]:
        start = f"{folder}/"
        with bucket_errors(f"{self._scheme}://{folder}", "listed", OutputError):
            try:
                paths: list[str] = self._files.find(start)
            except FileNotFoundError:
                return []
        return [path.removeprefix(start) for path in paths if path.startswith(start)]

    def _remove(self, folder: str) -> None:
        self._remove_all(f"{folder}/{path}" for path in self._below(folder))

    def _remove_all(self, paths: Iterable[str]) -> None:
        self._at_once(self._remove_one, paths)

    def _at_once(self, do: Callable[[str], None], paths: Iterable[str]) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parts") as pool:
            list(pool.map(do, paths))

    def _take_over(self, path: str) -> None:
        """Move a file of a dead run to this one."""
        job_id, name = path.split("/")[-2:]
        # Here and below no `mv` and `rm`: they take brackets and stars for a pattern.
        with bucket_errors(self._uri(job_id, name), "written", OutputError):
            self._files.cp_file(path, self._at(job_id, name))
            self._files.rm_file(path)

    def _remove_one(self, path: str) -> None:
        with bucket_errors(f"{self._scheme}://{path}", "removed", OutputError), suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _at(self, job_id: str, name: str) -> str:
        return f"{self._own}/{job_id}/{name}"

    def _uri(self, job_id: str, name: str) -> str:
        return f"{self._scheme}://{self._at(job_id, name)}"
