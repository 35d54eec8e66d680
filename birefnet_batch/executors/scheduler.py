"""Who does what next: pure decisions, with no clock, worker or cluster of its own.

Workers take units when they are free. A worker stays with the engine that it has open for as long as there is work
for it; a free one goes where most is left to do for each worker that is there already, and leaves an engine that
it would have to open alone unless that ends the whole earlier. Within an engine's queue the longest unit goes first,
which keeps the last ones short.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from birefnet_batch.executors.units import EngineKey, Unit
from birefnet_batch.executors.work_queue import Guesses, WorkQueue

# A join waits so long for a worker of the node where its parts are.
_PATIENCE_S = 10.0
_GUESSED_LOAD_S = 5.0
# A worker is given its next unit so long before it is expected to need it, and no earlier: what waits behind a long
# unit is lost to the others.
_AHEAD_S = 10.0
_MANY = 32


@dataclass
class WorkerState:
    """A worker as the scheduler sees it."""

    name: str
    node: str
    held: OrderedDict[EngineKey, None] = field(default_factory=OrderedDict)
    """Its open engines, the most recently used one last."""
    queue: WorkQueue | None = None
    """What it draws from."""
    running: deque[Unit] = field(default_factory=deque)
    """What it was given, in order: it works on the first."""
    until: float = 0.0
    """When the first is expected to end."""


class Scheduler:
    """Decides; its owner moves the units.

    Args:
        clock: seconds, from any start.
        in_flight: units that a worker has at once, so that it need not wait for the next.
        pace: an engine's seconds a frame, guessed; the proportions between engines matter.
        held_engines: how many engines a worker keeps open, as long as it does not say itself.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        in_flight: int = 2,
        pace: Callable[[EngineKey], float] = lambda engine: 0.1,
        load_s: Callable[[EngineKey], float] = lambda engine: _GUESSED_LOAD_S,
        held_engines: int = 2,
    ) -> None:
        self._clock = clock
        self._in_flight = in_flight
        self._pace = pace
        self._load_s = load_s
        self._held_engines = held_engines
        self._queues: dict[EngineKey, WorkQueue] = {}
        self._joins: deque[Unit] = deque()
        self._guesses = Guesses()
        self.workers: dict[str, WorkerState] = {}
        self.decisions = 0
        self._ends: list[tuple[float, int, str, Unit]] = []
        self._number = 0

    @property
    def waiting(self) -> int:
        """Units that no worker has."""
        return len(self._joins) + sum(map(len, self._queues.values()))

    @property
    def running(self) -> int:
        """Units that a worker has."""
        return sum(len(worker.running) for worker in self.workers.values())

    @property
    def seconds_left(self) -> float:
        """Until all is done, if nothing else comes."""
        work = sum(queue.open_s for queue in self._queues.values())
        return work / max(1, len(self.workers))

    def add(self, units: Iterable[Unit]) -> None:
        """Let units wait."""
        for unit in units:
            unit.since = self._clock()
            if unit.engine is None:
                self._joins.append(unit)
                continue
            self._queue(unit.engine).push(unit)

    def drop(self, unwanted: Callable[[Unit], bool]) -> None:
        """Forget waiting units."""
        self._joins = deque(unit for unit in self._joins if not unwanted(unit))
        for queue in self._queues.values():
            queue.remove(unwanted)

    def join(self, worker: str, node: str) -> None:
        """A worker is there."""
        self.workers[worker] = WorkerState(worker, node)

    def leave(self, worker: str) -> list[Unit]:
        """A worker is gone; what it had, the unit that it worked on first. The others are waiting again."""
        state = self.workers.pop(worker)
        self._assign(state, None)
        lost = list(state.running)
        for unit in lost:
            self._closed(unit)
        self.add(lost[1:])
        return lost[:1]

    def done(self, worker: str, unit: Unit, *, frames: float = 0.0, seconds: float = 0.0) -> None:
        """A worker did a unit, or part of it, or could not; its pace counts when frames are given."""
        state = self.workers[worker]
        state.running.remove(unit)
        self._closed(unit)
        self._expect(state)
        if unit.engine is None:
            return
        self._queue(unit.engine).measured(frames, seconds)
        if unit.guessed and frames:
            self._guesses.found(unit.length, frames)

    def probed(self, worker: str, frames: float) -> None:
        """The unit that a worker works on turned out to have so many frames."""
        state = self.workers[worker]
        unit = state.running[0] if state.running else None
        if unit is None or unit.engine is None or not unit.guessed or frames <= 0:
            return
        queue = self._queue(unit.engine)
        queue.closed(unit)
        self._guesses.found(unit.length, frames)
        unit.length, unit.guessed = frames, False
        queue.begun(unit)
        self._expect(state)

    def opened(self, worker: str, engine: EngineKey, seconds: float) -> None:
        """A worker opened an engine."""
        self._queue(engine).loaded(seconds)

    def holds(self, worker: str, engines: Iterable[EngineKey]) -> None:
        """A worker says which engines it has open, the most recently used one last."""
        self.workers[worker].held = OrderedDict.fromkeys(engines)

    def take(self, worker: str) -> Unit | None:
        """The next unit of a worker; None when there is none for it now."""
        state = self.workers[worker]
        if len(state.running) >= self._in_flight:
            return None
        self.decisions += 1
        unit = self._take_join(state) or self._take_work(state)
        if unit is not None:
            state.running.append(unit)
            if len(state.running) == 1:
                self._expect(state)
        return unit

    def _take_join(self, state: WorkerState) -> Unit | None:
        if state.running:
            # It would wait behind a segment, while another worker may be free.
            return None
        for place, unit in enumerate(self._joins):
            here = unit.near in (None, state.node)
            waited = self._clock() - unit.since >= _PATIENCE_S
            nobody = all(other.node != unit.near for other in self.workers.values())
            if (here or waited or nobody) and self._suits(state, unit):
                del self._joins[place]
                return unit
        return None

    def _take_work(self, state: WorkerState) -> Unit | None:
        if state.running:
            return self._take_ahead(state)
        for queue in self._candidates(state):
            unit = queue.pop(lambda unit: self._suits(state, unit))
            if unit is None:
                continue
            self._assign(state, queue)
            state.held[queue.engine] = None
            state.held.move_to_end(queue.engine)
            while len(state.held) > self._held_engines:
                state.held.popitem(last=False)
            return unit
        return None

    def _take_ahead(self, state: WorkerState) -> Unit | None:
        """A second unit behind the one that is worked on, if no other worker is short of one because of that."""
        queue = state.queue
        if queue is None or len(queue) <= len(queue.workers) or self._clock() < state.until - _AHEAD_S:
            return None
        return queue.pop(lambda unit: self._suits(state, unit))

    def _candidates(self, state: WorkerState) -> Iterator[WorkQueue]:
        """The queues that a worker may draw from, the best first."""
        own = state.queue
        if own:
            yield own
        waiting = [queue for queue in self._queues.values() if queue and queue is not own]
        held = [queue for queue in waiting if queue.engine in state.held]
        yield from sorted(held, key=lambda queue: -queue.waiting_s)
        useful = [queue for queue in waiting if queue not in held and self._worth_opening(state, queue)]
        yield from sorted(useful, key=lambda queue: -max(queue.open_s / (len(queue.workers) + 1), queue.longest_s))

    def _worth_opening(self, state: WorkerState, queue: WorkQueue) -> bool:
        """Whether a further worker ends the whole earlier.

        It would have done a unit before those that have the engine come to it. One that has another engine open also
        leaves them alone when they will be done before the longest running unit is, which ends the whole anyway.
        One that has none does not stay idle on the strength of a guess.
        """
        if not queue.workers or not (state.held or queue.is_measured):
            return True
        # When the queue's own workers would be done with it.
        share_s = self._first_free_s(queue) + queue.waiting_s / len(queue.workers)
        if queue.load_s + queue.longest_s > share_s:
            return False
        return not state.held or share_s > self._last_end() - self._clock() - queue.longest_s

    def _first_free_s(self, queue: WorkQueue) -> float:
        """Seconds until the first of a queue's workers is free; of many one always is, soon."""
        if len(queue.workers) > _MANY:
            return 0.0
        return max(0.0, min(self.workers[name].until for name in queue.workers) - self._clock())

    def _last_end(self) -> float:
        """When the last of the units that are worked on is expected to end."""
        while self._ends:
            end, _, name, unit = self._ends[0]
            state = self.workers.get(name)
            if state is not None and state.running and state.running[0] is unit:
                return -end
            heapq.heappop(self._ends)
        return self._clock()

    def _suits(self, state: WorkerState, unit: Unit) -> bool:
        """Whether a worker may have a unit: not where it was lost, as long as there are others."""
        return state.name not in unit.avoid or all(name in unit.avoid for name in self.workers)

    def _assign(self, state: WorkerState, queue: WorkQueue | None) -> None:
        if state.queue is not None:
            state.queue.workers.discard(state.name)
        state.queue = queue
        if queue is not None:
            queue.workers.add(state.name)

    def _expect(self, state: WorkerState) -> None:
        if not state.running or state.running[0].engine is None:
            state.until = self._clock()
            return
        unit = state.running[0]
        assert unit.engine is not None
        state.until = self._clock() + self._guesses.corrected(unit) * self._queues[unit.engine].pace
        self._number += 1
        heapq.heappush(self._ends, (-state.until, self._number, state.name, unit))

    def _closed(self, unit: Unit) -> None:
        if unit.engine is not None:
            self._queue(unit.engine).closed(unit)

    def _queue(self, engine: EngineKey) -> WorkQueue:
        if engine not in self._queues:
            self._queues[engine] = WorkQueue(engine, self._pace(engine), self._load_s(engine), self._guesses)
        return self._queues[engine]
