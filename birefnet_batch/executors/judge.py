"""Whether a failure is the video's or its machine's, and what becomes of what no machine may do any more."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from birefnet_batch.errors import ConfigError, ElsewhereError, FetchError, InputError, NoWorkerError
from birefnet_batch.executors.ledger import failed
from birefnet_batch.executors.messages import Failed
from birefnet_batch.executors.scheduler import Scheduler
from birefnet_batch.executors.units import Unit
from birefnet_batch.executors.workspace import has_source
from birefnet_batch.settings import Settings
from birefnet_batch.url_redaction import redact_text
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.look import media_problems

_log = logging.getLogger(__name__)
# What so many machines do not reach that have done other videos, none does: each further one may wait minutes for it.
_OUT_OF_REACH = 3


class Judge:
    """Holds back what failed where nothing else was done.

    Args:
        scheduler: who has what, and the doubts of its nodes.
        settings: how the driver looks for videos that a worker does not see, and at what the user asked for.
        clock: the scheduler's.
        patience_s: how long what nobody may do waits for another machine; 0 where there never is another, and then
            every failure is the video's.
    """

    def __init__(self, scheduler: Scheduler, settings: Settings, clock: Callable[[], float], patience_s: float) -> None:
        self._scheduler = scheduler
        self._settings = settings
        self._clock = clock
        self._patience_s = patience_s
        self._stuck_since: float | None = None

    def failed(self, unit: Unit, node: str, place: str, failure: Failed) -> tuple[Failed, bool]:
        """Judge the failure of a unit that a node's worker had.

        Returns:
            How it is told, and whether it is the video's; otherwise another node is to try it.
        """
        if not self._patience_s or self._is_refused(unit, failure):
            return failure, True
        if failure.unseen:
            if not has_source(unit.job, self._settings.storage):
                return failure, True
            failure = _unseen(unit, place, failure)
        doubts, job_id, reason = self._scheduler.doubts, unit.job.job_id, redact_text(str(failure.error))
        held = [unit]
        if isinstance(failure.error, ElsewhereError):
            # It does others, begun on its like; what this video was begun with, none of its segments finds there.
            held += [other for other in self._scheduler.waiting_units() if other.job.job_id == job_id]
            believed = barred = False
        elif isinstance(failure.error, FetchError):
            # It tells nothing of what else the machine can do: a block of dead URLs would have all of them barred.
            tried = unit.failed_on | {node}
            believed = sum(doubts.clears([other], unit.engine) for other in tried) >= _OUT_OF_REACH
            barred = False
        else:
            believed = not failure.unseen and doubts.believes(node, unit.engine, lost=failure.lost)
            barred = doubts.failed(
                node, unit.engine, job_id, believed=believed, probe=unit.probe, place=place, reason=reason
            )
        if not believed:
            for other in held:
                other.failed_on |= {node}
                other.verdict = failure
            said = "it is held back, for this may be the machine's doing"
            _log.warning("%s failed on %s: %s; %s", job_id, place, reason, said)
        if barred:
            _log.warning("%s gets no more videos that need the same: it has failed several and done none", place)
        return failure, believed

    def _is_refused(self, unit: Unit, failure: Failed) -> bool:
        """Whether it is what the user asked for that no machine can do."""
        form = format_of(unit.job.request.video_output_type)
        return isinstance(failure.error, ConfigError) and bool(media_problems(form, self._settings.media))

    @property
    def is_stuck(self) -> bool:
        """Whether nobody does anything, after all were offered work, because none of them may do what waits."""
        return bool(self._scheduler.workers and self._scheduler.waiting and not self._scheduler.running)

    @property
    def idle_nodes(self) -> Counter[str]:
        """Nodes with workers that got nothing of what waits, for it failed there; how many each.

        To be asked after all were offered work.
        """
        doubts, stuck = self._scheduler.doubts, self.is_stuck
        if not self._scheduler.waiting or not (doubts or stuck):
            return Counter()
        idle = Counter(state.node for state in self._scheduler.workers.values() if not state.running)
        return idle if stuck else Counter({node: idle[node] for node in doubts.nodes if idle[node]})

    def conclude(self) -> list[Unit]:
        """What has waited long enough for another machine, and fails as its `verdict` says; it waits no more.

        Raises:
            NoWorkerError: it is the machines that are at fault; what is left was not tried.
        """
        scheduler, now = self._scheduler, self._clock()
        if not self._patience_s or not self.is_stuck:
            # Where there never is another machine nothing is held back: its next worker takes what waits.
            self._stuck_since = None
            return []
        left, doubts = list(scheduler.waiting_units()), scheduler.doubts
        tried = [unit for unit in left if unit.verdict is not None]
        ended = {unit for unit in tried if not unit.verdict.unseen and doubts.clears(unit.failed_on, unit.engine)}
        if not ended:
            if self._stuck_since is None:
                self._stuck_since = now
                _log.warning("no machine may do what is left: it waits %g s for another one", self._patience_s)
            if now - self._stuck_since < self._patience_s:
                return []
            # Tried as often and on as many machines as may be, these have failed, whoever is at fault.
            ended = set(tried)
        if ended:
            scheduler.drop(lambda unit: unit in ended)
            return list(ended)
        barred = [told for engine in {unit.engine for unit in left} for told in doubts.barred(engine)]
        if barred:
            raise NoWorkerError(
                f"No machine can do what is left, {len({unit.job.job_id for unit in left})} videos: "
                f"{'; '.join(barred)}. Mend that machine or add another; the same command goes on with what is left, "
                "which was not tried, and with what failed"
            )
        return []


def _unseen(unit: Unit, place: str, failure: Failed) -> Failed:
    """How it is told that a machine does not see what the driver sees."""
    error = InputError(
        f"{unit.job.display_uri} is on the driver's machine, but not on {place}; mount its folder at the same place on "
        "all machines"
    )
    return Failed(*failed(failure.record, error), unseen=True)
