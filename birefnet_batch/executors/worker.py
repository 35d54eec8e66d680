"""The steps of jobs on one set of engines, with retries: what the local executor runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.executors.base import JobOutcome, Observer, RunContext
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.finish import finish
from birefnet_batch.executors.finished_segments import find, keep
from birefnet_batch.executors.ledger import Ledger, fail
from birefnet_batch.executors.preflight import open_first
from birefnet_batch.executors.prepare import prepare
from birefnet_batch.executors.retries import attempt_record, may_be_tried_again
from birefnet_batch.executors.segment_step import do_segment
from birefnet_batch.executors.workspace import Workspace
from birefnet_batch.jobs import Job
from birefnet_batch.results import AttemptRecord
from birefnet_batch.url_redaction import redact_text
from birefnet_batch.video.child_process import Spares

_log = logging.getLogger(__name__)


class Worker:
    """Runs jobs one at a time and keeps its engines open between them; a context that closes them.

    Args:
        context: the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._engines = EngineCache(context.settings)
        output = context.output
        self._workspace = Workspace(output.scratch / "sources", output.parts, context.settings.storage)
        self._spares = Spares()
        self._stack = ExitStack()

    def __enter__(self) -> Worker:
        self._stack.enter_context(self._engines)
        self._stack.enter_context(self._workspace)
        self._stack.enter_context(self._spares)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def make_ready(self, jobs: Sequence[Job]) -> None:
        """Open an engine that some of these jobs need.

        Raises:
            BirefnetBatchError: this machine can do none of them.
        """
        open_first(self._context.settings, jobs, self._engines)

    def run(self, job: Job, observer: Observer, *, last: bool = False) -> JobOutcome:
        """Do one job, with further attempts after errors that may pass; a failure is the outcome.

        Args:
            job: the job.
            observer: told of its frames.
            last: nothing needs to be ready for a further one.

        Raises:
            OutputError: the output is lost.
        """
        self._spares.more = not last
        retries = self._context.settings.executor.max_retries
        history: list[AttemptRecord] = []
        while True:
            ledger = Ledger.opened(self._context, job, tuple(history))
            try:
                outcome = self._attempt(job, ledger, observer)
            except Exception as error:
                self._workspace.leave_quietly(job)
                if may_be_tried_again(error) and len(history) < retries:
                    # It need not be the video's doing, and what is made in an output that is lost is lost too.
                    self._context.output.check()
                    _log.warning("%s; trying again", redact_text(str(error)))
                    history.append(attempt_record("local", error))
                    continue
                if not isinstance(error, (BirefnetBatchError, OSError)):
                    # A defect of ours or of a library costs this video, with its trace in the log, and no other.
                    _log.exception("%s failed unexpectedly", job.display_uri)
                outcome = fail(self._context, job, ledger.record, error)
            self._workspace.drop(job)
            return outcome

    def _attempt(self, job: Job, ledger: Ledger, observer: Observer) -> JobOutcome:
        plan = prepare(self._context, self._engines, self._workspace, job, ledger, observer)
        if plan is None:
            return JobOutcome(job, "skipped", seconds=ledger.seconds)
        done = find(self._context, plan, self._workspace.parts(job))
        if done and plan.whole.info.frames is not None:
            observer.length(plan.whole.info.frames - sum(item.segment.frames for item in done.values()))
        for index in range(len(plan.segments)):
            if index not in done:
                done[index] = do_segment(self._engines, self._workspace, plan, index, observer)
                keep(self._context, plan, done[index])
        return finish(self._context, self._workspace, plan, [done[index] for index in sorted(done)])
