"""Run the jobs in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from birefnet_batch.executors.base import Executor, JobOutcome
from birefnet_batch.executors.worker import Worker
from birefnet_batch.jobs import Job
from birefnet_batch.progress import Progress


class LocalExecutor(Executor):
    """One worker: the stages of one video's pipeline overlap, videos follow each other."""

    name: ClassVar[str] = "local"

    def run(self, jobs: Iterable[Job], progress: Progress) -> Iterator[JobOutcome]:
        """See `Executor.run`."""
        todo = list(jobs)
        with Worker(self.context) as worker:
            for number, job in enumerate(todo, 1):
                progress.started(job.display_uri)
                yield worker.run(job, progress, last=number == len(todo))
