"""Where a run's results go: a store, the lease of it, and scratch space on this machine."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from birefnet_batch.errors import OutputError
from birefnet_batch.file_locks import lacks_locks
from birefnet_batch.output_files import JOBS
from birefnet_batch.refusals import named_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.lease import Lease, is_held_by
from birefnet_batch.storage.lease_holder import Holder
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.storage.scratch import SCRATCH, Scratch
from birefnet_batch.storage.stores import open_store
from birefnet_batch.uris import user_path

# A file system over a network shows a new file so much later on another machine.
_SEEN_WITHIN_S = 30.0


class Output:
    """A folder or bucket of results. Files appear in it whole or not at all.

    The run's own process enters it as a context and then holds the output alone; every other process of the run, on
    whatever machine, gets a pickled copy and works inside `attach()`.

    Args:
        location: a path, a file:// URI, or an s3://, gs:// or az:// location.
        run_id: names this run's own scratch folder.
        storage: the settings of storage; `scratch` is a folder for fetched inputs and parts, by default below the
            output, or in the system's temporary folder where that is a bucket.

    Raises:
        ConfigError: there can be no results at this location.
    """

    def __init__(self, location: str, run_id: str, storage: StorageSettings | None = None) -> None:
        self.settings = storage or StorageSettings()
        self._run_id = run_id
        self.store = open_store(location, self.settings)
        own = self.settings.scratch
        if isinstance(self.store, LocalStore):
            # Absolute: a worker's working folder is another one.
            location = str(self.store.root)
            self._staging = Scratch(self.store.root / SCRATCH, run_id)
            self._work = Scratch(user_path(own).absolute(), run_id, self._parts, given=True) if own else self._staging
            self.store.staging = self._staging.path
        else:
            # What one user made there no other may write to, or read: videos of closed buckets are in it.
            default = Path(tempfile.gettempdir()) / f"birefnet-batch-{os.getuid()}"
            parent = user_path(own).absolute() if own else default
            self._staging = self._work = Scratch(parent, run_id, self._parts, private=not own, given=bool(own))
        self._location = location
        self._lease: Lease | None = None
        self._opened = ExitStack()

    def __reduce__(self) -> tuple[object, ...]:
        # Locks and the lease stay with the process that took them.
        return type(self), (self._location, self._run_id, self.settings)

    def with_settings(self, storage: StorageSettings) -> Output:
        """The same output for the run's other processes, where these get other settings of storage."""
        return type(self)(self._location, self._run_id, storage)

    def __enter__(self) -> Output:
        """Take the output for this run, make the folders, take over finished segments of dead runs and remove the rest.

        Raises:
            ConfigError: another run holds it.
            OutputError: it cannot be written.
        """
        self._open(Scratch.own)
        try:
            # Asked for, because not every bucket says so of what is written to it.
            if reason := self.store.absence():
                raise OutputError(f"output={self.store.shown} cannot be written: {reason}")
            lease = Lease(self.store, self._run_id)
            lease.acquire()
            self._opened.callback(lease.release)
            self._lease = lease
            self.store.prepare()
            dead = frozenset(holder.run_id for holder in lease.dead)
            self._each(lambda folder: folder.inherit(dead))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def require_held(self) -> None:
        """Make sure, on another machine, that this is the output that the run's own process holds.

        A folder of the same name on a disk of that machine would take the results, and nobody would find them.

        Raises:
            OutputError: it is another.
        """
        until = time.monotonic() + _SEEN_WITHIN_S
        while not is_held_by(self.store, self._run_id):
            if time.monotonic() > until:
                raise OutputError(
                    f"output={self.shown} is not the same on {socket.gethostname()} as where the run was started: its "
                    "lease of it is not seen here; mount the folder at the same place on all machines, or give a bucket"
                )
            time.sleep(min(1.0, _SEEN_WITHIN_S))

    @contextmanager
    def attach(self) -> Iterator[Output]:
        """The same output in another process of the run: no lease is taken, and no finished segment is removed.

        Several processes may be attached at once. What they leave under temporary names is removed with the last of
        them on a machine, or by the run's own process; what killed ones left, by the next one there.

        Raises:
            OutputError: the scratch folders cannot be written from here.
        """
        self._open(Scratch.share)
        try:
            yield self
        finally:
            self._close()

    def _open(self, how: Callable[[Scratch], None]) -> None:
        for folder in self._folders:
            self._opened.callback(folder.close)
        self._each(how)

    def _each(self, how: Callable[[Scratch], None]) -> None:
        for folder in self._folders:
            try:
                how(folder)
            except OSError as error:
                self._close()
                advice, refused, mend = "choose another folder", "cannot be written", "mend its rights"
                if folder is self._work and self.settings.scratch is not None:
                    place = f"storage.scratch={self.settings.scratch}"
                elif isinstance(self.store, LocalStore):
                    place = f"output={self.shown}"
                else:
                    place = f"scratch space in {folder.path.parent}"
                    advice = "give storage.scratch=FOLDER"
                if lacks_locks(error):
                    refused, mend = "has no file locks", "mount it with them"
                raise OutputError(f"{place} {refused}: {named_reason(error, f'{advice} or {mend}')}") from None

    def _close(self) -> None:
        self._opened.close()
        self._lease = None

    @property
    def _folders(self) -> list[Scratch]:
        return list(dict.fromkeys((self._work, self._staging)))

    @property
    def _parts(self) -> str:
        """The folder of parts where several outputs have theirs side by side."""
        return f"parts-{self.digest}"

    def all_ended(self) -> None:
        """All jobs of the run have ended: nothing that is in scratch space is of use to a later one."""
        for folder in self._folders:
            folder.over = True

    @property
    def digest(self) -> str:
        """Stands for the location in names of files."""
        return hashlib.sha256(self.uri("").encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """The location, fit for files and logs."""
        return self.store.shown

    @property
    def dead_holders(self) -> tuple[Holder, ...]:
        """Runs that held the output and did not give it back, for the one that holds it now."""
        return () if self._lease is None else self._lease.dead

    @property
    def scratch(self) -> Path:
        """A folder on this machine for fetched inputs and parts."""
        return self._work.path

    @property
    def worker_folder(self) -> Path:
        """A folder on this machine for the files of this worker alone, once it is attached."""
        return self._work.worker_folder

    @property
    def parts(self) -> Path:
        """A folder on this machine for parts of segments; those that are done outlive a run that does not end well."""
        return self._work.parts

    @property
    def shared_parts(self) -> Path | None:
        """Such a folder below the output, which all machines see; None where that is a bucket."""
        return self._staging.parts if isinstance(self.store, LocalStore) else None

    def staged(self, name: str) -> Path:
        """A temporary path for a file that `publish` takes: on the output's own file system, if it has one."""
        return self._staging.path / name

    def uri(self, relative: str) -> str:
        """The absolute URI of a file below the output."""
        return self.store.uri(relative)

    def publish(self, staged: Path, relative: str, content_type: str = "") -> None:
        """Give a finished file its final name, durably; the staged one is gone afterwards.

        Raises:
            OutputError: the place is full or cannot be written, or another run has taken the output over.
        """
        self.check()
        self.store.put_file(staged, relative, content_type)
        staged.unlink(missing_ok=True)

    def write(self, relative: str, content: bytes) -> None:
        """Write a small file whole, replacing the one that is there.

        Raises:
            OutputError: the place is full or cannot be written, or another run has taken the output over.
        """
        self.check()
        self.store.put(relative, content)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there.

        Raises:
            OutputError: it cannot be removed, or another run has taken the output over.
        """
        self.check()
        self.store.remove(relative)

    def read(self, relative: str) -> bytes | None:
        """A file's content, or None where there is none."""
        return self.store.get(relative)

    def version(self, relative: str) -> str | None:
        """What is another one once a file has been written anew; None where there is no file, or none can be told."""
        return self.store.version(relative)

    def list(self, folder: str) -> list[str]:
        """The names of the files in a folder; none where it does not exist."""
        return self.store.names(folder)

    def check_jobs(self) -> None:
        """Make sure that there can be files of further jobs, after those of one could not be written.

        Raises:
            OutputLostError: there can be none.
        """
        self.store.check_folder(JOBS)

    def check(self) -> None:
        """Make sure that this run still holds the output, where this is the process that took it.

        Raises:
            OutputError: another run has taken it over.
        """
        if self._lease is not None:
            self._lease.check()
