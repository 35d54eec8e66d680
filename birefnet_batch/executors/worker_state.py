"""A worker as the scheduler sees it: what it has, and when the first of that is expected to end."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from birefnet_batch.executors.units import EngineKey, Unit
from birefnet_batch.executors.work_queue import WorkQueue

# Frames of a unit after which its own pace tells more than that of its engine: videos differ.
_ENOUGH_FRAMES = 20


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
    made: float = 0.0
    """Frames of the first that it has made."""
    seconds: float = 0.0
    """How long it took for them."""
    until: float = 0.0
    """When the first is expected to end."""

    @property
    def is_sure(self) -> bool:
        """Whether `until` rests on enough frames to act upon."""
        unit = self.running[0] if self.running else None
        if unit is None or unit.engine is None or unit.guessed or self.queue is None:
            return False
        return self.made >= _ENOUGH_FRAMES or self.queue.is_sure

    def expect(self, now: float, load_s: float = 0.0) -> None:
        """Set `until` from what is known now.

        Args:
            now: by the scheduler's clock.
            load_s: seconds until the first frame can be made.
        """
        unit = self.running[0] if self.running else None
        if unit is None or unit.engine is None or self.queue is None:
            self.until = now
            return
        pace = self.seconds / self.made if self.made >= _ENOUGH_FRAMES else self.queue.pace
        self.until = now + load_s + max(0.0, self.queue.length_of(unit) - self.made) * pace

    def rest_s(self, now: float) -> float:
        """Seconds until it has done all that it has."""
        ahead = [unit for unit in list(self.running)[1:] if unit.engine is not None]
        later = sum(self.queue.length_of(unit) * self.queue.pace for unit in ahead) if self.queue is not None else 0.0
        return max(0.0, self.until - now) + later


class LastEnd:
    """When the last of the workers is expected to end what it works on, kept up while expectations change."""

    def __init__(self, workers: Mapping[str, WorkerState]) -> None:
        self._workers = workers
        self._ends: list[tuple[float, str]] = []

    def changed(self, state: WorkerState) -> None:
        """A worker's `until` is another."""
        heapq.heappush(self._ends, (-state.until, state.name))
        # What was expected before stays below what is expected now: it is swept out when that is most of it.
        if len(self._ends) > 64 + 4 * len(self._workers):
            self._ends = [(-worker.until, worker.name) for worker in self._workers.values() if worker.running]
            heapq.heapify(self._ends)

    def __call__(self, now: float) -> float:
        """By the scheduler's clock; now when nobody works."""
        while self._ends:
            end, name = self._ends[0]
            state = self._workers.get(name)
            if state is not None and state.running and state.until == -end:
                return -end
            heapq.heappop(self._ends)
        return now
