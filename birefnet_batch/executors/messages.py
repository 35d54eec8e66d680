"""What the driver and its workers say to each other; small records, frames never."""

from __future__ import annotations

from dataclasses import dataclass

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.same_code import Code
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.executors.units import EngineKey, Step
from birefnet_batch.jobs import Job
from birefnet_batch.results import AttemptRecord, JobRecord


@dataclass(frozen=True)
class Call:
    """One step of one job, for a worker."""

    step: Step
    job: Job
    history: tuple[AttemptRecord, ...] = ()
    """The job's attempts that were lost."""
    plan: Plan | None = None
    """What `begin` found; for the later steps."""
    index: int = 0
    """Which segment."""
    done: tuple[SegmentDone, ...] = ()
    """All segments, for the join."""
    ended: tuple[Job, ...] = ()
    """Jobs whose parts are needed no more, since the worker's last call."""


@dataclass(frozen=True)
class Planned:
    """A job has several segments."""

    plan: Plan
    finished: tuple[SegmentDone, ...]
    """Those that need not be done any more."""


@dataclass(frozen=True)
class Lost:
    """A step failed in a way that may pass; somebody else shall try."""

    record: JobRecord
    error: Exception


@dataclass(frozen=True)
class Failed:
    """A step failed for good, and whose fault that is, its video's or its machine's, is for the driver to say."""

    record: JobRecord
    """As it is to be written if it is the video's."""
    error: BirefnetBatchError
    unseen: bool = False
    """Whether the video is not to be had on the worker's machine."""
    lost: bool = False
    """Whether workers were lost with it, as often as may be."""


@dataclass(frozen=True)
class GivenBack:
    """A step was not done, or not to its end, because the run is being stopped."""


StepEnd = Planned | SegmentDone | JobOutcome | Lost | Failed | GivenBack
"""What a step comes to."""


@dataclass(frozen=True)
class Answer:
    """What a worker says when a step has ended."""

    value: StepEnd
    frames: int = 0
    """Frames that the step made."""
    seconds: float = 0.0
    """How long that took, without opening engines."""
    opened: tuple[tuple[EngineKey, float], ...] = ()
    """Engines that were opened for it, and the seconds that each took."""
    held: tuple[EngineKey, ...] = ()
    """Engines that are open now, the most recently used one last."""
    spent: bool = False
    """Whether the worker is to be replaced: what failed may have been its process, and not the video."""


@dataclass(frozen=True)
class Hello:
    """A worker is ready, or says why it never will be."""

    node: str = ""
    host: str = ""
    error: str | None = None
    code: Code | None = None
    """What it runs; None where it never will."""


@dataclass(frozen=True)
class Status:
    """What a worker is doing."""

    job_id: str | None = None
    frames: int = 0
    """That it made since it began."""
    expected: int | None = None
    """Frames of the video that it began, once that was probed."""
    step: Step | None = None
    """What of the job it is at, and of which segment."""
    index: int = 0
    made: int = 0
    """Frames of that."""
    seconds: float = 0.0
    """How long it has been at that, without opening engines."""
    at: float = 0.0
    """When it said so, in seconds of a clock of its own: its answer may take long to be read."""
