"""Which worker may have which unit, after losses and failures: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from birefnet_batch.executors.doubts import Doubts
from birefnet_batch.executors.units import Unit
from birefnet_batch.executors.work_queue import WorkQueue
from birefnet_batch.executors.worker_state import WorkerState


class Suitability:
    """A unit goes not to a node where it failed, and where it was lost only if there is no other worker.

    Args:
        workers: all of them, by name; it is followed.
        doubts: of their nodes; followed too.
    """

    def __init__(self, workers: Mapping[str, WorkerState], doubts: Doubts) -> None:
        self._workers = workers
        self._doubts = doubts

    def suits(self, state: WorkerState, unit: Unit) -> bool:
        """Whether a worker may have a unit now."""
        if not self._may(state, unit):
            return False
        if state.name not in unit.avoid:
            return True
        return all(other.name in unit.avoid for other in self._workers.values() if self._may(other, unit))

    def open_to(self, state: WorkerState, queues: Iterable[WorkQueue]) -> Iterable[WorkQueue]:
        """Those of the queues that a worker's node is not barred from."""
        if not self._doubts:
            return queues
        return [queue for queue in queues if not self._doubts.bars(state.node, queue.engine)]

    def pop(self, state: WorkerState, queue: WorkQueue) -> Unit | None:
        """A queue's next unit for a worker: the longest, or the shortest to find out what its node can do."""
        suits = partial(self.suits, state)
        if not self._doubts.doubts(state.node, queue.engine):
            return queue.pop(suits)
        unit = queue.shortest(suits)
        if unit is not None:
            unit.probe = True
        return unit

    def _may(self, state: WorkerState, unit: Unit) -> bool:
        return state.node not in unit.failed_on and not self._doubts.bars(state.node, unit.engine)
