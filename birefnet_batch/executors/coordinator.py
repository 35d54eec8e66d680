"""A run's jobs, from waiting to their outcomes, over any number of workers; knows no cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from birefnet_batch.errors import OutputError, WorkerLostError
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.costs import engine_of, guessed_frames, guessed_pace
from birefnet_batch.executors.judge import Judge
from birefnet_batch.executors.ledger import Ledger, failed, publish_failed
from birefnet_batch.executors.messages import Answer, Call, Failed, GivenBack, Lost, Planned, Status
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.retries import attempt_record
from birefnet_batch.executors.scheduler import Scheduler
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.executors.units import EngineKey, Unit
from birefnet_batch.jobs import Job
from birefnet_batch.results import AttemptRecord, JobRecord
from birefnet_batch.url_redaction import redact_text

_log = logging.getLogger(__name__)


@dataclass
class _Begun:
    """A job that was begun and is more than one call."""

    history: list[AttemptRecord] = field(default_factory=list)
    plan: Plan | None = None
    done: dict[int, SegmentDone] = field(default_factory=dict)
    made_on: dict[str, int] = field(default_factory=dict)
    """Node -> frames of its parts."""


class Coordinator:
    """Turns answers into further calls and outcomes.

    Args:
        context: the run.
        clock: seconds, from any start.
        drop_parts: removes the parts of a job that ended.
        patience_s: how long what nobody may do waits for another machine; 0 where there never is another.
    """

    def __init__(
        self,
        context: RunContext,
        clock: Callable[[], float],
        drop_parts: Callable[[Job], None],
        patience_s: float,
    ) -> None:
        self._context = context
        self._models = context.settings.catalogue
        self._precision = context.settings.engine.precision.value
        device = context.settings.engine.device_wish
        self.scheduler = Scheduler(clock, pace=lambda engine: guessed_pace(engine, self._models, device))
        self._begun: dict[str, _Begun] = {}
        self._left: set[str] = set()
        self._ended_jobs: list[Job] = []
        self._told: dict[str, int] = {}
        self._places: dict[str, str] = {}
        self._drop_parts = drop_parts
        self.judge = Judge(self.scheduler, context.settings, clock, patience_s)
        self._stopping = False
        self.retries = 0

    def add(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait."""
        engines: dict[tuple[str, str], EngineKey] = {}
        units: list[Unit] = []
        for job in jobs:
            self._left.add(job.job_id)
            asked = job.request.model, job.request.operating_resolution
            if asked not in engines:
                engines[asked] = engine_of(job, self._precision, self._models)
            units.append(Unit(job, "begin", engines[asked], guessed_frames(job), guessed=True))
        self.scheduler.add(units)

    def joined(self, worker: str, node: str, host: str) -> None:
        """A worker is there."""
        self._places[worker] = f"{host} ({node[:12]})"
        self.scheduler.join(worker, node)

    @property
    def unfinished(self) -> int:
        """Jobs without an outcome."""
        return len(self._left)

    def stop(self) -> None:
        """The run is being stopped: what is not done from now on is undone. It has not failed, whatever is said of it.

        A system that shuts down may tell a worker's processes before the run, and then they seem to have died of the
        video.
        """
        self._stopping = True

    def take(self, worker: str) -> tuple[Unit, Call] | None:
        """The next call for a worker; None when there is none for it now."""
        while (unit := self.scheduler.take(worker)) is not None and unit.job.job_id not in self._left:
            # Its job ended while it waited behind another unit of a worker that was lost.
            self.scheduler.done(worker, unit)
        if unit is None:
            return None
        begun = self._begun.get(unit.job.job_id, _Begun())
        done = tuple(begun.done[index] for index in sorted(begun.done)) if unit.step == "join" else ()
        ended = tuple(self._ended_jobs[self._told.get(worker, 0) :])
        self._told[worker] = len(self._ended_jobs)
        return unit, Call(unit.step, unit.job, tuple(begun.history), begun.plan, unit.index, done, ended)

    def answered(self, worker: str, unit: Unit, answer: Answer) -> JobOutcome | None:
        """A worker ended a call; the outcome, if that ended its job."""
        node = self.scheduler.workers[worker].node
        self.scheduler.done(worker, unit, frames=answer.frames, seconds=answer.seconds)
        for engine, seconds in answer.opened:
            self.scheduler.opened(worker, engine, seconds)
        self.scheduler.holds(worker, answer.held)
        job, value = unit.job, answer.value
        if job.job_id not in self._left:
            return None
        if isinstance(value, SegmentDone) or (isinstance(value, JobOutcome) and value.status == "succeeded"):
            self.scheduler.doubts.succeeded(node, unit.engine)
        if isinstance(value, JobOutcome):
            return self._ended(value)
        if isinstance(value, GivenBack):
            self.scheduler.add([unit])
        elif self._stopping and isinstance(value, (Lost, Failed)):
            self._leave_undone(unit, value.error)
        elif isinstance(value, Failed):
            return self._failed(unit, worker, node, value)
        elif isinstance(value, Lost):
            return self._try_again(unit, worker, node, value.error, value.record)
        elif isinstance(value, Planned):
            self._planned(unit, value)
        else:
            self._segment_done(unit, value, node)
        return None

    def told(self, worker: str, status: Status) -> None:
        """A worker says what it is doing; of what it has ended meanwhile that counts no more."""
        state = self.scheduler.workers.get(worker)
        unit = state.running[0] if state is not None and state.running else None
        if unit is None or (unit.job.job_id, unit.step, unit.index) != (status.job_id, status.step, status.index):
            return
        if status.expected:
            self.scheduler.probed(worker, float(status.expected))
        self.scheduler.progressed(worker, float(status.made), status.seconds)

    def lost(self, worker: str, reason: str) -> JobOutcome | None:
        """A worker is gone; the outcome, if that was the last try of the job that it worked on."""
        node = self.scheduler.workers[worker].node
        unit = self.scheduler.leave(worker)
        if unit is not None:
            error = WorkerLostError(reason)
            # Each logs the reason, or the outcome has it.
            if self._stopping:
                self._leave_undone(unit, error)
                return None
            if unit.job.job_id in self._left:
                return self._try_again(unit, worker, node, error, None)
        _log.warning("%s", redact_text(reason))
        return None

    def conclude(self) -> Iterator[JobOutcome]:
        """The outcomes of what failed and waited long enough for another machine to try it, each as it is published.

        Raises:
            NoWorkerError: no machine can do what is left; it was not tried.
        """
        for unit in self.judge.conclude():
            if unit.job.job_id in self._left:
                yield self._end_failed(unit, unit.verdict)

    def _failed(self, unit: Unit, worker: str, node: str, failure: Failed) -> JobOutcome | None:
        """A step failed, not by what its video holds; the outcome of its job, if that was not the machine's doing."""
        if isinstance(failure.error, OutputError):
            # Before other machines try what none of them can write.
            self._context.output.check_jobs()
        failure, believed = self.judge.failed(unit, node, self._places.get(worker, node), failure)
        if believed:
            return self._end_failed(unit, failure)
        if not failure.lost:
            self._note_attempt(unit, worker, failure.error)
        self.scheduler.add([unit])
        return None

    def _leave_undone(self, unit: Unit, error: Exception) -> None:
        _log.warning("%s: %s; the run stops, the next does it", unit.job.job_id, redact_text(str(error)))
        self.scheduler.add([unit])

    def _end_failed(self, unit: Unit, failure: Failed) -> JobOutcome:
        history = self._begun[unit.job.job_id].history if unit.job.job_id in self._begun else []
        noted = failure.lost or failure is unit.verdict
        record = replace(failure.record, history=history, attempts=len(history) + (not noted))
        return self._ended(publish_failed(self._context, unit.job, record, failure.error))

    def _planned(self, unit: Unit, value: Planned) -> None:
        begun = self._begun.setdefault(unit.job.job_id, _Begun())
        begun.plan = plan = value.plan
        begun.done = {done.segment.index: done for done in value.finished}
        self.scheduler.add(
            Unit(unit.job, "segment", unit.engine, float(plan.frames(index) or 1), index=index)
            for index in range(len(plan.segments))
            if index not in begun.done
        )
        self._join_if_done(unit.job, begun)

    def _segment_done(self, unit: Unit, done: SegmentDone, node: str) -> None:
        begun = self._begun[unit.job.job_id]
        begun.done[unit.index] = done
        begun.made_on[node] = begun.made_on.get(node, 0) + done.segment.frames
        self._join_if_done(unit.job, begun)

    def _join_if_done(self, job: Job, begun: _Begun) -> None:
        assert begun.plan is not None
        if len(begun.done) == len(begun.plan.segments):
            near = max(begun.made_on, key=lambda node: begun.made_on[node], default=None)
            self.scheduler.add([Unit(job, "join", None, 1.0, near=near)])

    def _try_again(
        self, unit: Unit, worker: str, node: str, error: Exception, record: JobRecord | None
    ) -> JobOutcome | None:
        begun = self._note_attempt(unit, worker, error)
        unit.tries += 1
        unit.avoid |= {worker}
        if unit.tries <= self._context.settings.executor.max_retries:
            self.retries += 1
            _log.warning("%s: %s; trying again elsewhere", unit.job.job_id, redact_text(str(error)))
            self.scheduler.add([unit])
            return None
        record = record or (begun.plan.record if begun.plan else Ledger.opened(self._context, unit.job).record)
        tried = {"begin": "", "segment": f" at its segment {unit.index}", "join": " at joining its segments"}[unit.step]
        other = len(begun.history) - unit.tries
        given_up = type(error)(
            f"{unit.job.display_uri} was given up after {unit.tries} lost attempts{tried} (executor.max_retries="
            f"{self._context.settings.executor.max_retries}{f'; {other} at others of its steps' if other else ''}), "
            f"the last one: {error}"
        )
        return self._failed(unit, worker, node, Failed(*failed(record, given_up), lost=True))

    def _note_attempt(self, unit: Unit, worker: str, error: Exception) -> _Begun:
        begun = self._begun.setdefault(unit.job.job_id, _Begun())
        segment = unit.index if unit.step == "segment" else None
        where = self._places.get(worker)
        begun.history.append(attempt_record(worker, error, node=where, step=unit.step, segment=segment))
        return begun

    def _ended(self, outcome: JobOutcome) -> JobOutcome:
        job_id = outcome.job.job_id
        self._left.discard(job_id)
        begun = self._begun.pop(job_id, None)
        # Of others nothing else waits, and going through all that does takes the longer the more it is.
        if begun is not None and begun.plan is not None:
            if outcome.status == "failed":
                self.scheduler.drop(lambda unit: unit.job.job_id == job_id)
            self._ended_jobs.append(outcome.job)
            self._drop_parts(outcome.job)
        return outcome
