"""Where a worker has the files of the jobs that it works on: their sources, and the parts of their segments."""

from __future__ import annotations

import shutil
import socket
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from birefnet_batch.errors import BirefnetBatchError, ElsewhereError, InputError
from birefnet_batch.jobs import Job
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import LocalSource, SourceFacts, open_source, source_facts
from birefnet_batch.storage.facts import changed
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import is_local, local_path

# A worker goes to and fro between two videos at most: the one at hand and the one that it was given next.
_OPEN_SOURCES = 2


def has_source(job: Job, settings: StorageSettings) -> bool:
    """Whether a job's input is to be had on this machine; of a remote one nothing is asked."""
    if scheme_of(job.uri) != "file":
        return True
    try:
        source_facts(job.uri, settings)
    except InputError:
        return False
    return True


class Workspace:
    """Parts in a folder that all workers of the run see, sources in one of this worker's own.

    Args:
        own: this worker's folder.
        shared: the folder of parts.
        settings: how sources are fetched.
    """

    def __init__(self, own: Path, shared: Path, settings: StorageSettings) -> None:
        self._own = own
        self._shared = shared
        self._settings = settings
        self._sources: OrderedDict[str, tuple[ExitStack, LocalSource]] = OrderedDict()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._sources:
            self._abandon(next(iter(self._sources)))

    def open(self, job: Job, facts: SourceFacts) -> LocalSource:
        """The job's source, its content being hashed; it stays open for the steps that follow.

        Raises:
            InputError: it cannot be had.
        """
        if job.job_id in self._sources:
            self._sources.move_to_end(job.job_id)
            return self._sources[job.job_id][1]
        while len(self._sources) >= _OPEN_SOURCES:
            self._abandon(next(iter(self._sources)))
        folder = self._own / job.job_id
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            source = stack.enter_context(open_source(job.uri, facts, folder, self._settings))
            self._sources[job.job_id] = (stack.pop_all(), source)
        return source

    def path(self, job: Job, facts: SourceFacts) -> Path:
        """The job's source as a file, for a step that needs no digest of it.

        Raises:
            InputError: it cannot be had.
            ElsewhereError: this machine has another file, or other images, at that path than where the job was begun.
        """
        if scheme_of(job.uri) == "file" and job.job_id not in self._sources:
            if source_facts(job.uri, self._settings) != facts:
                raise ElsewhereError(
                    f"{job.display_uri} on {socket.gethostname()} is not what it was where the video was begun; mount "
                    "its folder at the same place on all machines, and run it again when nothing writes to it"
                )
            if is_local(job.uri):
                return local_path(job.uri)
        return self.open(job, facts).path

    def leave(self, job: Job, facts: SourceFacts, *, shared: bool) -> None:
        """No step needs the job's source any more.

        Args:
            job: the job.
            facts: those that it was planned with.
            shared: whether other workers may have read it too.

        Raises:
            InputError: it changed while it was read, or cannot be asked for any more.
        """
        if job.job_id in self._sources:
            self._sources.pop(job.job_id)[0].close()
            # Not every bucket takes a condition, and others may have fetched their copies after this one was whole.
            again = shared and scheme_of(job.uri) in BUCKET_SCHEMES
        else:
            again = is_local(job.uri)
        if again and source_facts(job.uri, self._settings) != facts:
            raise changed(job.display_uri)

    def parts(self, job: Job) -> Path:
        """The folder of the job's parts."""
        folder = self._shared / job.job_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop(self, job: Job) -> None:
        """Remove all that the job left here."""
        self.leave_quietly(job)
        shutil.rmtree(self._shared / job.job_id, ignore_errors=True)

    def leave_quietly(self, job: Job) -> None:
        """Close the job's source, whatever became of it."""
        if job.job_id in self._sources:
            self._abandon(job.job_id)

    @contextmanager
    def naming(self, job: Job) -> Iterator[None]:
        """In errors name the source and not the fetched copy, which is gone when they are read."""
        try:
            yield
        except InputError as error:
            if not is_local(job.uri) and job.job_id in self._sources:
                source = self._sources[job.job_id][1]
                if source.error is not None:
                    # A reader that did not get its bytes says so; the transfer knows why.
                    raise source.error from None
                error.args = (str(error).replace(str(source.path), job.display_uri),)
            raise

    def _abandon(self, job_id: str) -> None:
        stack, source = self._sources.pop(job_id)
        source.cancel()
        with suppress(BirefnetBatchError):
            stack.close()
