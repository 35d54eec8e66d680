"""Run the jobs over all GPUs and machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.executors.base import Executor, JobOutcome, RunContext
from birefnet_batch.executors.coordinator import Coordinator
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.messages import Answer
from birefnet_batch.executors.parts import open_parts
from birefnet_batch.executors.preflight import judge_weights
from birefnet_batch.executors.ray_causes import cause
from birefnet_batch.executors.ray_cluster import RayCluster, require_ray, resolved
from birefnet_batch.executors.ray_crew import Crew
from birefnet_batch.executors.ray_job import stop_times
from birefnet_batch.executors.ray_metrics import DriverMetrics
from birefnet_batch.executors.ray_watch import Watch
from birefnet_batch.executors.units import Unit
from birefnet_batch.jobs import Job
from birefnet_batch.process_tuning import no_garbage
from birefnet_batch.progress import Progress

_log = logging.getLogger(__name__)
_ROUND_S = 1.0
# What no machine that is there can do waits so long for another: as long as a worker's start may take.
_PATIENCE_S = 30.0


class RayExecutor(Executor):
    """The driver's loop on `ray.wait`: who is free takes the next unit, every answer is an outcome or further units."""

    name: ClassVar[str] = "ray"

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self._ray = require_ray()

    def run(self, jobs: Iterable[Job], progress: Progress) -> Iterator[JobOutcome]:
        """See `Executor.run`. An interrupt drains: what is being done may end within `executor.grace_s`.

        Raises:
            BirefnetBatchError: all workers are on this machine, and it can do none of them (`judge_weights`).
        """
        todo = list(jobs)
        with RayCluster(self._ray, self.context.settings) as cluster:
            context = replace(self.context, settings=resolved(self.context.settings, cluster))
            if not cluster.grows:
                with EngineCache(context.settings) as engines:
                    judge_weights(context.settings, todo, engines)
            yield from Driver(self._ray, cluster, context, progress).run(todo)


class Driver:
    """The loop in a cluster that is there.

    Args:
        ray: the library.
        cluster: where.
        context: the run, its settings resolved.
        progress: who shows it.
    """

    def __init__(self, ray: Any, cluster: RayCluster, context: RunContext, progress: Progress) -> None:
        self._ray = ray
        self._context = context
        self._parts = open_parts(context.settings, context.output, context.run_id)
        self._crew = Crew(ray, cluster, _for_workers(context))
        patience_s = _PATIENCE_S if cluster.grows else 0.0
        self._coordinator = Coordinator(context, time.monotonic, self._drop_parts, patience_s)
        self._metrics = DriverMetrics()
        self._watch = Watch(ray, self._crew, self._coordinator, progress)
        self._progress = progress
        self._calls: dict[Any, tuple[str, Unit]] = {}

    def run(self, todo: list[Job]) -> Iterator[JobOutcome]:
        """See `Executor.run`."""
        self._parts.inherit()
        try:
            # Workers start while the jobs' lengths are guessed.
            self._crew.keep_up(needed=len(todo))
            with no_garbage():
                self._coordinator.add(todo)
            while self._coordinator.unfinished:
                try:
                    yield from self._round()
                except KeyboardInterrupt:
                    yield from self._drain()
                    raise
        finally:
            self._crew.close()
            self._clean()

    def _round(self) -> Iterator[JobOutcome]:
        # Workers have no lease that would stop them.
        self._context.output.check()
        scheduler = self._coordinator.scheduler
        self._offer()
        self._crew.keep_up(needed=scheduler.waiting + scheduler.running, idle=self._coordinator.judge.idle_nodes)
        for outcome in self._coordinator.conclude():
            self._metrics.ended(outcome.status)
            yield outcome
        yield from self._collect(_ROUND_S)
        self._watch.look()
        self._metrics.now(retries=self._coordinator.retries, waiting=scheduler.waiting, workers=len(self._crew.ready))

    def _offer(self) -> None:
        if not self._coordinator.scheduler.waiting:
            return
        for name in list(self._crew.ready):
            while (taken := self._coordinator.take(name)) is not None:
                unit, call = taken
                if unit.step == "begin":
                    self._progress.started(unit.job.display_uri)
                self._calls[self._crew.call(name, call)] = (name, unit)

    def _collect(self, timeout: float) -> Iterator[JobOutcome]:
        waited_for = [*self._calls, *self._crew.greetings]
        if not waited_for:
            time.sleep(min(timeout, 0.2))
            return
        ready, _ = self._ray.wait(waited_for, num_returns=1, timeout=timeout)
        if ready:
            # What else is there already.
            ready, _ = self._ray.wait(waited_for, num_returns=len(waited_for), timeout=0)
        # In the order of the calls: of a lost worker's the first is the one that it worked on.
        there = set(ready)
        for reference in [reference for reference in waited_for if reference in there]:
            if reference in self._calls:
                outcome = self._answered(reference)
                if outcome is not None:
                    self._metrics.ended(outcome.status)
                    yield outcome
            elif reference in self._crew.greetings:
                member = self._crew.greeted(reference)
                if member is not None:
                    self._coordinator.joined(member.name, member.node, member.host)

    def _answered(self, reference: Any) -> JobOutcome | None:
        name, unit = self._calls.pop(reference)
        try:
            answer: Answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._lost(name, f"{self._crew.ready[name].place} was lost: {cause(error)}")
        self._watch.answered(name, answer)
        outcome = self._coordinator.answered(name, unit, answer)
        if answer.spent:
            self._retire(name)
        return outcome

    def _lost(self, name: str, reason: str) -> JobOutcome | None:
        self._forget_calls(name)
        self._crew.lose(name)
        self._watch.lost(name)
        return self._coordinator.lost(name, reason)

    def _retire(self, name: str) -> None:
        """Replace a worker that is not well; what waits for it goes elsewhere without blame."""
        self._forget_calls(name)
        self._crew.lose(name)
        self._watch.lost(name)
        scheduler = self._coordinator.scheduler
        unit = scheduler.leave(name)
        scheduler.add([] if unit is None else [unit])

    def _drop_parts(self, job: Job) -> None:
        try:
            self._parts.drop(job.job_id)
        except BirefnetBatchError as error:
            _log.warning("%s; the end of the run tries again", error)

    def _clean(self) -> None:
        try:
            self._parts.clean(over=not self._coordinator.unfinished)
        except BirefnetBatchError as error:
            _log.warning("%s; the next run on this output tries again", error)

    def _forget_calls(self, name: str) -> None:
        self._calls = {reference: call for reference, call in self._calls.items() if call[0] != name}

    def _drain(self) -> Iterator[JobOutcome]:
        self._coordinator.stop()
        times = stop_times(self._context.settings.executor.grace_s, os.environ)
        running = sum(1 for worker in self._coordinator.scheduler.workers.values() if worker.running)
        _log.warning("stopping: %d segments have %g s to finish (%s)", running, times.grace_s, times.why)
        for at_once, seconds in ((False, times.grace_s), (True, times.give_back_s)):
            for member in self._crew.ready.values():
                member.actor.drain.options(concurrency_group="watch").remote(at_once)
            until = time.monotonic() + seconds
            while self._calls and (left := until - time.monotonic()) > 0:
                yield from self._collect(min(left, _ROUND_S))
                self._watch.look()
            if not self._calls:
                return
        for name in {name for name, _ in self._calls.values()}:
            self._forget_calls(name)
            self._crew.lose(name)


def _for_workers(context: RunContext) -> RunContext:
    """The run as its workers get it: their output has the paths that are right where they work."""
    return replace(context, output=context.output.with_settings(context.settings.storage))
