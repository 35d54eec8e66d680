"""Which engine's queue a free worker draws from: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from birefnet_batch.executors.work_queue import WorkQueue
from birefnet_batch.executors.worker_state import LastEnd, WorkerState

_MANY = 32


class QueueChoice:
    """Weighs an engine that a worker has open against others that it would have to open.

    Args:
        workers: all of them, by name; it is followed.
        last_end: when the last of them is expected to end.
    """

    def __init__(self, workers: Mapping[str, WorkerState], last_end: LastEnd) -> None:
        self._workers = workers
        self._last_end = last_end

    def candidates(self, state: WorkerState, queues: Iterable[WorkQueue], now: float) -> Iterator[WorkQueue]:
        """The queues that a worker may draw from, the best first.

        Args:
            state: the worker.
            queues: all of them.
            now: by the scheduler's clock.
        """
        own = state.queue
        if own:
            yield own
        waiting = [queue for queue in queues if queue and queue is not own]
        held = [queue for queue in waiting if queue.engine in state.held]
        yield from sorted(held, key=lambda queue: -queue.waiting_s)
        useful = [queue for queue in waiting if queue not in held and self._worth_opening(state, queue, now)]
        yield from sorted(useful, key=lambda queue: -max(queue.open_s / (len(queue.workers) + 1), queue.longest_s))

    def _worth_opening(self, state: WorkerState, queue: WorkQueue, now: float) -> bool:
        """Whether a further worker ends the whole earlier.

        It would have done a unit before those that have the engine come to it. One that has another engine open also
        leaves them alone when they will be done before the longest running unit is, which ends the whole anyway.
        One that has none does not stay idle on the strength of a guess.
        """
        if not queue.workers or not (state.held or queue.is_measured):
            return True
        # When the queue's own workers would be done with it.
        share_s = self._first_free_s(queue, now) + queue.waiting_s / len(queue.workers)
        if queue.load_s + queue.longest_s > share_s:
            return False
        return not state.held or share_s > self._last_end(now) - now - queue.longest_s

    def _first_free_s(self, queue: WorkQueue, now: float) -> float:
        """Seconds until the first of a queue's workers is free; of many one always is, soon."""
        if len(queue.workers) > _MANY:
            return 0.0
        return max(0.0, min(self._workers[name].until for name in queue.workers) - now)
