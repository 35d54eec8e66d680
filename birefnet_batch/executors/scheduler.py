"""Who does what next: pure decisions, with no clock, worker or cluster of its own.

Workers take units when they are free. A worker stays with the engine that it has open for as long as there is work
for it; a free one goes where most is left to do for each worker that is there already, and leaves an engine that
it would have to open alone unless that ends the whole earlier. Within an engine's queue the longest unit goes first,
which keeps the last ones short.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from birefnet_batch.executors.doubts import Doubts
from birefnet_batch.executors.queue_choice import QueueChoice
from birefnet_batch.executors.suitability import Suitability
from birefnet_batch.executors.units import EngineKey, Unit
from birefnet_batch.executors.work_queue import Guesses, WorkQueue
from birefnet_batch.executors.worker_state import LastEnd, WorkerState

# Units that a worker has at once, so that it need not wait for the next.
_IN_FLIGHT = 2
# Engines that a worker keeps open, as long as it does not say itself.
_HELD_ENGINES = 2
# A join waits so long for a worker of the node where its parts are.
_PATIENCE_S = 10.0
_GUESSED_LOAD_S = 5.0
# A worker is given its next unit so long before it is expected to need it, and no earlier: what waits behind a long
# unit is lost to the others. For the same reason it is given none on the strength of a guess.
_AHEAD_S = 10.0


class Scheduler:
    """Decides; its owner moves the units.

    Args:
        clock: seconds, from any start.
        pace: an engine's seconds a frame, guessed; the proportions between engines matter.
        load_s: the seconds that an engine takes to open, guessed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        pace: Callable[[EngineKey], float],
        load_s: Callable[[EngineKey], float] = lambda engine: _GUESSED_LOAD_S,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._load_s = load_s
        self._queues: dict[EngineKey, WorkQueue] = {}
        self._joins: deque[Unit] = deque()
        self._lengths, self._paces = Guesses(), Guesses()
        self.workers: dict[str, WorkerState] = {}
        self._last_end = LastEnd(self.workers)
        self._choice = QueueChoice(self.workers, self._last_end)
        self.doubts = Doubts()
        self._suitability = Suitability(self.workers, self.doubts)
        self.decisions = 0

    @property
    def waiting(self) -> int:
        """Units that no worker has."""
        return len(self._joins) + sum(map(len, self._queues.values()))

    @property
    def running(self) -> int:
        """Units that a worker has."""
        return sum(len(worker.running) for worker in self.workers.values())

    @property
    def seconds_left(self) -> float | None:
        """Until all is done, if nothing else comes; None while nobody works, or too little is known of the pace."""
        queues = self._queues.values()
        sure = any(queue.is_sure for queue in queues)
        if not (self.workers and sure) or (any(queue.has_guesses for queue in queues) and not self._lengths.is_checked):
            return None
        now = self._clock()
        rests = [worker.rest_s(now) for worker in self.workers.values()]
        work = sum(rests) + sum(queue.waiting_s for queue in queues)
        return max(work / len(self.workers), *rests, *(queue.longest_s for queue in queues))

    def add(self, units: Iterable[Unit]) -> None:
        """Let units wait."""
        for unit in units:
            unit.since, unit.probe = self._clock(), False
            if unit.engine is None:
                self._joins.append(unit)
                continue
            self._queue(unit.engine).push(unit)

    def waiting_units(self) -> Iterator[Unit]:
        """Those that no worker has, in no order."""
        return chain(self._joins, *self._queues.values())

    def drop(self, unwanted: Callable[[Unit], bool]) -> None:
        """Forget waiting units."""
        self._joins = deque(unit for unit in self._joins if not unwanted(unit))
        for queue in self._queues.values():
            queue.remove(unwanted)

    def join(self, worker: str, node: str) -> None:
        """A worker is there."""
        self.workers[worker] = WorkerState(worker, node)

    def leave(self, worker: str) -> Unit | None:
        """A worker is gone; the unit that it worked on, if any. What else it had is waiting again."""
        state = self.workers.pop(worker)
        self._assign(state, None)
        lost = list(state.running)
        for unit in lost:
            self._closed(unit)
        self.add(lost[1:])
        return lost[0] if lost else None

    def done(self, worker: str, unit: Unit, *, frames: float = 0.0, seconds: float = 0.0) -> None:
        """A worker did a unit, or part of it, or could not; its pace counts when frames are given."""
        state = self.workers[worker]
        if unit.engine is not None and frames > 0:
            self._count(state, frames, seconds)
            if unit.guessed:
                self._lengths.found(unit.length, frames)
        state.running.remove(unit)
        self._closed(unit)
        self._begins(state)

    def probed(self, worker: str, frames: float) -> None:
        """The unit that a worker works on turned out to have so many frames."""
        state = self.workers[worker]
        unit = state.running[0] if state.running else None
        if unit is None or unit.engine is None or not unit.guessed or frames <= 0:
            return
        queue = self._queue(unit.engine)
        queue.closed(unit)
        self._lengths.found(unit.length, frames)
        unit.length, unit.guessed = frames, False
        queue.begun(unit)
        self._expect(state)

    def progressed(self, worker: str, frames: float, seconds: float) -> None:
        """The unit that a worker works on has come so far: frames made, and how long that took."""
        state = self.workers[worker]
        if not state.running or state.running[0].engine is None or frames <= 0:
            return
        self._count(state, frames, seconds)
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
        if len(state.running) >= _IN_FLIGHT:
            return None
        self.decisions += 1
        return self._take_join(state) or self._take_work(state)

    def _take_join(self, state: WorkerState) -> Unit | None:
        if state.running:
            # It would wait behind a segment, while another worker may be free.
            return None
        for place, unit in enumerate(self._joins):
            here = unit.near in (None, state.node)
            waited = self._clock() - unit.since >= _PATIENCE_S
            nobody = all(other.node != unit.near for other in self.workers.values())
            if (here or waited or nobody) and self._suitability.suits(state, unit):
                del self._joins[place]
                state.running.append(unit)
                self._begins(state)
                return unit
        return None

    def _take_work(self, state: WorkerState) -> Unit | None:
        if state.running:
            return self._take_ahead(state)
        open_to = self._suitability.open_to(state, self._queues.values())
        if state.queue is not None and state.queue not in open_to:
            self._assign(state, None)
        for queue in self._choice.candidates(state, open_to, self._clock()):
            unit = self._suitability.pop(state, queue)
            if unit is None:
                if queue is state.queue:
                    # Others would leave it to this one.
                    self._assign(state, None)
                continue
            self._assign(state, queue)
            state.running.append(unit)
            self._begins(state, load_s=0.0 if queue.engine in state.held else queue.load_s)
            state.held[queue.engine] = None
            state.held.move_to_end(queue.engine)
            while len(state.held) > _HELD_ENGINES:
                state.held.popitem(last=False)
            return unit
        return None

    def _take_ahead(self, state: WorkerState) -> Unit | None:
        """A second unit behind the one that is worked on, if no other worker is short of one because of that."""
        if any(self._suitability.suits(state, unit) for unit in self._joins):
            # It is an empty worker's: with its next unit always there, a worker would have none until all is done.
            return None
        queue = state.queue
        if queue is None or len(queue) <= len(queue.workers) or not state.is_sure:
            return None
        if self.doubts.doubts(state.node, queue.engine) or self._clock() < state.until - _AHEAD_S:
            return None
        unit = queue.pop(lambda unit: self._suitability.suits(state, unit))
        if unit is not None:
            state.running.append(unit)
        return unit

    def _assign(self, state: WorkerState, queue: WorkQueue | None) -> None:
        if state.queue is not None:
            state.queue.workers.discard(state.name)
        state.queue = queue
        if queue is not None:
            queue.workers.add(state.name)

    def _begins(self, state: WorkerState, load_s: float = 0.0) -> None:
        """The first of what a worker has is another."""
        state.made = state.seconds = 0.0
        self._expect(state, load_s)

    def _expect(self, state: WorkerState, load_s: float = 0.0) -> None:
        state.expect(self._clock(), load_s)
        if state.running and state.running[0].engine is not None:
            self._last_end.changed(state)

    def _count(self, state: WorkerState, frames: float, seconds: float) -> None:
        """What was made of the first of what a worker has, since that was last said."""
        new = max(0.0, frames - state.made)
        if state.queue is not None and new + state.made > 0 and seconds > state.seconds:
            state.queue.measured(new, seconds - state.seconds)
            state.made, state.seconds = state.made + new, seconds

    def _closed(self, unit: Unit) -> None:
        if unit.engine is not None:
            self._queue(unit.engine).closed(unit)

    def _queue(self, engine: EngineKey) -> WorkQueue:
        if engine not in self._queues:
            self._queues[engine] = WorkQueue(
                engine, self._pace(engine), self._load_s(engine), self._lengths, self._paces
            )
        return self._queues[engine]
