"""A worker as a Ray actor: one step of one job at a time, its engines open in between."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

from birefnet_batch.engines.made_here import made_here
from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.errors import BirefnetBatchError, FetchError, InputError, OutputLostError, WorkerLostError
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.finish import finish, published
from birefnet_batch.executors.finished_segments import find, keep
from birefnet_batch.executors.ledger import Ledger, fail, failed
from birefnet_batch.executors.messages import Answer, Call, Failed, GivenBack, Hello, Lost, Planned, Status, StepEnd
from birefnet_batch.executors.parts import open_parts
from birefnet_batch.executors.prepare import Plan, prepare
from birefnet_batch.executors.ray_metrics import WorkerMetrics
from birefnet_batch.executors.retries import is_unwell, may_be_tried_again
from birefnet_batch.executors.same_code import Code
from birefnet_batch.executors.segment_step import SegmentDone, do_segment
from birefnet_batch.executors.units import EngineKey
from birefnet_batch.executors.worker_board import Board, StoppedError
from birefnet_batch.executors.workspace import Workspace, has_source
from birefnet_batch.process_tuning import keep_freed_memory
from birefnet_batch.publish import with_machine
from birefnet_batch.storage.finished_parts import record_name, record_names
from birefnet_batch.versions import library_versions
from birefnet_batch.video.child_process import Spares

_log = logging.getLogger(__name__)
# Steps in a row that were lost here, after which it may be this process, and another is wanted.
_LOSSES = 2


class RayWorker:
    """Run inside Ray, by the driver's calls; never raises, for what it raises would look like its death.

    Args:
        name: its name in messages and records.
        context: the run; its settings are resolved, so that all workers do the same.
    """

    def __init__(self, name: str, context: RunContext) -> None:
        self._name = name
        # The driver's machine may have others, or none.
        self._context = replace(context, versions=library_versions())
        self._board = Board(self._count)
        self._draining = threading.Event()
        self._spent = False
        self._losses = 0
        self._stack = ExitStack()
        self._precision = context.settings.engine.precision.value

    def hello(self) -> Hello:
        """Set up, or say why that is impossible."""
        import ray

        # The process is this worker's alone.
        keep_freed_memory()
        try:
            _set_up_logging(self._board)
            self._context.output.require_held()
            attached = self._stack.enter_context(self._context.output.attach())
            self._metrics = WorkerMetrics()
            self._engines = self._stack.enter_context(EngineCache(self._context.settings))
            settings, output, run_id = self._context.settings, self._context.output, self._context.run_id
            self._parts = open_parts(settings, output, run_id)
            folder = self._parts.folder(attached.scratch / "copies")
            self._workspace = self._stack.enter_context(Workspace(attached.worker_folder, folder, settings.storage))
            self._stack.enter_context(Spares())
        except (BirefnetBatchError, OSError) as error:
            return Hello(error=str(error))
        node = ray.get_runtime_context().get_node_id()
        return Hello(node, socket.gethostname(), code=Code.here())

    def work(self, call: Call) -> Answer:
        """Do one step."""
        if self._draining.is_set():
            return Answer(GivenBack(), held=self._held())
        for job in call.ended:
            self._workspace.drop(job)
        self._board.begin(call)
        ledger = Ledger(call.plan.record) if call.plan else Ledger.opened(self._context, call.job, call.history)
        opened: list[tuple[EngineKey, float]] = []
        try:
            value: StepEnd = self._step(call, ledger, opened)
            self._losses = 0
        except StoppedError:
            value = GivenBack()
        except Exception as error:
            value = self._failed(call, ledger, error)
        finally:
            self._board.call = None
        if isinstance(value, JobOutcome):
            # Media that were asked for inline are in result.json.
            value = replace(value, result=None)
        frames, seconds = self._board.made, self._board.seconds
        return Answer(value, frames, seconds, tuple(opened), self._held(), self._spent)

    def status(self) -> Status:
        """What it is doing; answered beside the work."""
        board, call, now = self._board, self._board.call, time.monotonic()
        if call is None:
            return Status(frames=board.count, at=now)
        return Status(
            call.job.job_id, board.count, board.expected, call.step, call.index, max(0, board.made), board.seconds, now
        )

    def drain(self, at_once: bool) -> None:
        """Begin nothing more; with `at_once` give back what is being done."""
        self._draining.set()
        if at_once:
            self._board.stop.set()

    def close(self) -> None:
        """Free and remove everything."""
        self._stack.close()

    def _step(
        self, call: Call, ledger: Ledger, opened: list[tuple[EngineKey, float]]
    ) -> Planned | SegmentDone | JobOutcome:
        if call.step == "join":
            assert call.plan is not None
            # The parts go with the publication: after it there are none to join.
            if call.history:
                outcome = published(self._context, self._workspace, call.plan, call.done)
                if outcome is not None:
                    return outcome
            names = [path.name for done in call.done for path in done.segment.parts.values()]
            self._parts.get(call.job.job_id, self._workspace.parts(call.job), names)
            record = replace(call.plan.record, history=list(call.history), attempts=len(call.history) + 1)
            return finish(self._context, self._workspace, replace(call.plan, record=record), call.done)
        if call.step == "segment":
            assert call.plan is not None
            done = self._segment(call.plan, call.index, opened)
            self._parts.put(call.job.job_id, keep(self._context, call.plan, done))
            return done
        plan = prepare(self._context, self._engines, self._workspace, call.job, ledger, self._board)
        if plan is None:
            return JobOutcome(call.job, "skipped", seconds=ledger.seconds)
        if len(plan.segments) > 1:
            return Planned(plan, tuple(self._finished(plan).values()))
        return finish(self._context, self._workspace, plan, [self._segment(plan, 0, opened)])

    def _finished(self, plan: Plan) -> dict[int, SegmentDone]:
        folder = self._workspace.parts(plan.job)
        names = self._parts.get_records(plan.job.job_id, folder)
        found = find(self._context, plan, folder, names)
        # Of those there: another worker here may be handing over a segment that it has just done.
        others = set(record_names(names or ())).difference(map(record_name, found))
        self._parts.drop_records(plan.job.job_id, folder, others)
        return found

    def _segment(self, plan: Plan, index: int, opened: list[tuple[EngineKey, float]]) -> SegmentDone:
        request = plan.job.request
        spec = self._engines.model(request.model)
        was_open, began = (spec.short_name, *request.size) in self._engines.held, time.perf_counter()
        built = made_here["engine"]
        self._engines.engine(spec, request.size)
        if not was_open:
            engine = (spec.short_name, *request.size, self._precision)
            opened.append((engine, time.perf_counter() - began))
            self._board.opening_s += opened[-1][1]
            self._metrics.opened(engine, opened[-1][1], built=made_here["engine"] > built)
        done = do_segment(self._engines, self._workspace, plan, index, self._board)
        self._metrics.stages(spec.short_name, done.segment.seconds)
        return done

    def _count(self, frames: int) -> None:
        call = self._board.call
        assert call is not None
        self._metrics.frames(self._engines.model(call.job.request.model).short_name, frames)

    def _failed(self, call: Call, ledger: Ledger, error: Exception) -> JobOutcome | Lost | Failed:
        record = ledger.record
        self._workspace.leave_quietly(call.job)
        memory = is_out_of_memory(error)
        if memory or is_unwell(error):
            self._give_up()
            what = "ran out of memory" if memory else f"is not well: {type(error).__name__}"
            return Lost(record, WorkerLostError(f"{self._name} {what}: {error}"))
        if may_be_tried_again(error):
            # Once may be the video's doing.
            self._losses += 1
            if self._losses >= _LOSSES:
                self._give_up()
            return Lost(record, error)
        if not isinstance(error, (BirefnetBatchError, OSError)):
            _log.exception("failed unexpectedly")
            self._give_up()
        # What cannot be reached from here may be from another machine.
        decided = isinstance(error, InputError) and not isinstance(error, FetchError)
        unseen = decided and not has_source(call.job, self._context.settings.storage)
        if decided and not unseen:
            try:
                return fail(self._context, call.job, record, error)
            except OutputLostError as lost:
                # From here; whether it is from the driver's machine is for the driver to see.
                error = lost
        ended, known = failed(record, error)
        return Failed(with_machine(ended), known, unseen)

    def _give_up(self) -> None:
        """Be replaced: what waits here would be broken off by that, when it has just been begun."""
        self._spent = True
        self._draining.set()

    def _held(self) -> tuple[EngineKey, ...]:
        return tuple((*key, self._precision) for key in self._engines.held)


def _set_up_logging(board: Board) -> None:
    """To standard error, which Ray carries to the driver, each line with the video that it is about."""

    def with_job(record: logging.LogRecord) -> bool:
        record.job = board.call.job.job_id if board.call is not None else "-"
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(with_job)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s [%(job)s]: %(message)s"))
    logger = logging.getLogger("birefnet_batch")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
