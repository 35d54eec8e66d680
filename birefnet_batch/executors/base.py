"""The interface that the local executor and Ray share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.jobs import Job
from birefnet_batch.output_files import RESULT
from birefnet_batch.progress import Progress
from birefnet_batch.results import Outcome
from birefnet_batch.settings import Settings
from birefnet_batch.storage import Output


@dataclass(frozen=True)
class RunContext:
    """What every job of a run shares."""

    run_id: str
    settings: Settings
    output: Output
    versions: dict[str, str]


@dataclass(frozen=True)
class JobOutcome:
    """What became of one job; small, for it travels between processes."""

    job: Job
    status: Outcome
    frames: int = 0
    """Of segments that this run did: those that an earlier one finished took none of its seconds."""
    seconds: float = 0.0
    error: str | None = None
    exception: BirefnetBatchError | None = None
    """What `error` says, for a caller who catches."""
    result: dict[str, Any] | None = None
    """The API's output; with sync_mode it holds the data URIs."""

    @property
    def result_path(self) -> str | None:
        """result.json relative to the output root, where there is one."""
        return None if self.status == "failed" else self.job.file(RESULT)


class Observer(Protocol):
    """Told how a job goes on, from any thread."""

    def length(self, frames: int | None) -> None:
        """The job's video has so many frames, as far as its container says."""

    def frames(self, count: int) -> None:
        """So many further frames are encoded."""


class Executor(ABC):
    """Runs `process_segment` for each segment of each job, then `join`, somewhere.

    A subclass sets `name`, the value of `executor.name` that selects it.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not isinstance(getattr(cls, "name", None), str):
            raise TypeError(
                f"{cls.__name__} has no name; set the class attribute `name` to the value of executor.name "
                "that selects it"
            )

    def __init__(self, context: RunContext) -> None:
        self.context = context

    @abstractmethod
    def run(self, jobs: Iterable[Job], progress: Progress) -> Iterator[JobOutcome]:
        """Yield an outcome for every job, in the order in which they end.

        A job's failure is its outcome, never an exception: the others go on. Closing the iterator, or an
        exception in its consumer, stops the work and leaves no partial file.
        """
