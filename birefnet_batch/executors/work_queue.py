"""The units that wait for one engine, longest first, and what is known of their pace."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from birefnet_batch.executors.units import EngineKey, Unit

# Weight of the first guess of an engine's pace, in frames: what was measured outweighs it soon.
_GUESS_FRAMES = 100.0
_Item = tuple[int, float, int, Unit]


class Guesses:
    """How guessed lengths compare with what was found."""

    def __init__(self) -> None:
        self._guessed = self._found = 0.0

    @property
    def correction(self) -> float:
        """What a guess is to be multiplied by."""
        return self._found / self._guessed if self._guessed and self._found else 1.0

    def found(self, guessed: float, frames: float) -> None:
        """A length was guessed and turned out to be so many frames."""
        self._guessed += guessed
        self._found += frames

    def corrected(self, unit: Unit) -> float:
        """A unit's length in frames, as well as it is known."""
        return unit.length * self.correction if unit.guessed else unit.length


@dataclass
class _Frames:
    open: float = 0.0
    waiting: float = 0.0


class WorkQueue:
    """One engine's queue.

    Args:
        engine: the engine.
        pace: seconds a frame, guessed.
        load_s: seconds that opening it takes, guessed.
        guesses: how far guessed lengths are off.
    """

    def __init__(self, engine: EngineKey, pace: float, load_s: float, guesses: Guesses) -> None:
        self.engine = engine
        self.workers: set[str] = set()
        """Who draws from this queue."""
        self._known, self._guessed = _Frames(), _Frames()
        self.load_s = load_s
        self._guesses = guesses
        self._seconds, self._frames = pace * _GUESS_FRAMES, _GUESS_FRAMES
        self._heap: list[_Item] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_measured(self) -> bool:
        """Whether the pace is more than a guess."""
        return self._frames > _GUESS_FRAMES

    @property
    def pace(self) -> float:
        """Seconds a frame."""
        return self._seconds / self._frames

    @property
    def open_s(self) -> float:
        """Seconds of work that waits or is being done."""
        return (self._known.open + self._guessed.open * self._guesses.correction) * self.pace

    @property
    def waiting_s(self) -> float:
        """Seconds of work that waits."""
        return (self._known.waiting + self._guessed.waiting * self._guesses.correction) * self.pace

    @property
    def longest_s(self) -> float:
        """Seconds that the next unit will take."""
        return self._guesses.corrected(self._heap[0][3]) * self.pace if self._heap else 0.0

    def push(self, unit: Unit) -> None:
        """Let a unit wait. What belongs to a video that was begun goes first, so that few are begun at once."""
        self._frames_of(unit).waiting += unit.length
        self._frames_of(unit).open += unit.length
        self._number += 1
        first = 0 if unit.step != "begin" or unit.tries else 1
        heapq.heappush(self._heap, (first, -unit.length, self._number, unit))

    def pop(self, suits: Callable[[Unit], bool]) -> Unit | None:
        """The longest unit that suits; it stays open until `closed`."""
        passed: list[_Item] = []
        found = None
        while self._heap and found is None:
            item = heapq.heappop(self._heap)
            if suits(item[3]):
                found = item[3]
                self._frames_of(found).waiting -= found.length
            else:
                passed.append(item)
        for item in passed:
            heapq.heappush(self._heap, item)
        return found

    def remove(self, unwanted: Callable[[Unit], bool]) -> None:
        """Forget waiting units."""
        for item in self._heap:
            if unwanted(item[3]):
                self._frames_of(item[3]).waiting -= item[3].length
                self.closed(item[3])
        self._heap = [item for item in self._heap if not unwanted(item[3])]
        heapq.heapify(self._heap)

    def begun(self, unit: Unit) -> None:
        """A unit that does not wait is open."""
        self._frames_of(unit).open += unit.length

    def closed(self, unit: Unit) -> None:
        """A unit that was popped is done or given back."""
        self._frames_of(unit).open -= unit.length

    def _frames_of(self, unit: Unit) -> _Frames:
        return self._guessed if unit.guessed else self._known

    def measured(self, frames: float, seconds: float) -> None:
        """A unit of so many frames took so long."""
        if frames > 0 and seconds > 0:
            self._seconds += seconds
            self._frames += frames

    def loaded(self, seconds: float) -> None:
        """The engine was opened in so many seconds."""
        self.load_s += (seconds - self.load_s) / 2
