"""Run the jobs in this process, one after another."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import ClassVar

from birefnet_batch.errors import NoWorkerError
from birefnet_batch.executors.base import Executor, JobOutcome
from birefnet_batch.executors.worker import Worker
from birefnet_batch.jobs import Job
from birefnet_batch.progress import Progress
from birefnet_batch.refusals import one_line


class LocalExecutor(Executor):
    """One worker: the stages of one video's pipeline overlap, videos follow each other."""

    name: ClassVar[str] = "local"

    def run(self, jobs: Iterable[Job], progress: Progress) -> Iterator[JobOutcome]:
        """See `Executor.run`.

        Raises:
            BirefnetBatchError: this machine can do none of them.
            NoWorkerError: the GPU answers no more.
        """
        todo = list(jobs)
        with Worker(self.context) as worker:
            worker.make_ready(todo)
            for number, job in enumerate(todo, 1):
                progress.started(job.display_uri)
                outcome = worker.run(job, progress, last=number == len(todo))
                yield outcome
                failure = _gpu_failure() if outcome.status == "failed" and number < len(todo) else None
                if failure is not None:
                    raise NoWorkerError(
                        f"the GPU answers this process no more ({failure}); {len(todo) - number} of {len(todo)} videos "
                        "are left, with which the same command goes on"
                    )


def _gpu_failure() -> str | None:
    """What CUDA says where it has failed for good: an illegal address, for one, stays with the process."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return one_line(error, 200)
    return None
