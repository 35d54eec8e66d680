"""The units that wait for one engine, longest first, and what is known of their pace."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from birefnet_batch.executors.units import EngineKey, Unit

# Weight of the guess of an engine's pace, in frames: what was measured outweighs it soon.
_GUESS_FRAMES = 100.0
# A pace that fewer frames were measured for is nothing to act upon: the first take longer than the others.
_ENOUGH_FRAMES = 50.0
_Item = tuple[int, float, int, Unit]


class Guesses:
    """How guessed lengths, or paces, compare with what was found."""

    def __init__(self) -> None:
        self._guessed = self._found = 0.0

    @property
    def correction(self) -> float:
        """What a guess is to be multiplied by."""
        return self._found / self._guessed if self._guessed and self._found else 1.0

    @property
    def is_checked(self) -> bool:
        """Whether any guess was compared yet."""
        return bool(self._guessed and self._found)

    def found(self, guessed: float, found: float) -> None:
        """Something was guessed and turned out to be so much."""
        self._guessed += guessed
        self._found += found


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
        lengths: how far guessed lengths are off.
        paces: how far guessed paces are off, of all engines.
    """

    def __init__(self, engine: EngineKey, pace: float, load_s: float, lengths: Guesses, paces: Guesses) -> None:
        self.engine = engine
        self.workers: set[str] = set()
        """Who draws from this queue."""
        self._known, self._guessed = _Frames(), _Frames()
        self.load_s = load_s
        self._lengths, self._paces = lengths, paces
        self._guessed_pace = pace
        self._seconds = self.frames = 0.0
        """Measured."""
        self._heap: list[_Item] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_measured(self) -> bool:
        """Whether the pace is more than a guess."""
        return self.frames > 0

    @property
    def is_sure(self) -> bool:
        """Whether the pace rests on enough frames to act upon."""
        return self.frames >= _ENOUGH_FRAMES

    @property
    def pace(self) -> float:
        """Seconds a frame. A guess is worth as much as the guesses of the other engines turned out to be."""
        guess_s = self._guessed_pace * self._paces.correction * _GUESS_FRAMES
        return (guess_s + self._seconds) / (_GUESS_FRAMES + self.frames)

    @property
    def has_guesses(self) -> bool:
        """Whether the length of any of its open work is guessed."""
        return self._guessed.open >= 1

    def length_of(self, unit: Unit) -> float:
        """A unit's length in frames, as well as it is known."""
        return unit.length * self._lengths.correction if unit.guessed else unit.length

    @property
    def open_s(self) -> float:
        """Seconds of work that waits or is being done."""
        return (self._known.open + self._guessed.open * self._lengths.correction) * self.pace

    @property
    def waiting_s(self) -> float:
        """Seconds of work that waits."""
        return (self._known.waiting + self._guessed.waiting * self._lengths.correction) * self.pace

    @property
    def longest_s(self) -> float:
        """Seconds that the next unit will take."""
        return self.length_of(self._heap[0][3]) * self.pace if self._heap else 0.0

    def push(self, unit: Unit) -> None:
        """Let a unit wait. What belongs to a video that was begun goes first, so that few are begun at once."""
        self._frames_of(unit).waiting += unit.length
        self._frames_of(unit).open += unit.length
        self._number += 1
        first = 0 if unit.step != "begin" or unit.tries else 1
        heapq.heappush(self._heap, (first, -unit.length, self._number, unit))

    def __iter__(self) -> Iterator[Unit]:
        """What waits, in no order."""
        return (item[3] for item in self._heap)

    def shortest(self, suits: Callable[[Unit], bool]) -> Unit | None:
        """The shortest unit that suits, as `pop` does; for the few that find out what a machine can do."""
        found = min((item for item in self._heap if suits(item[3])), key=lambda item: item[3].length, default=None)
        if found is None:
            return None
        self._heap.remove(found)
        heapq.heapify(self._heap)
        self._frames_of(found[3]).waiting -= found[3].length
        return found[3]

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
        """So many further frames were made in so long."""
        self.frames += frames
        self._seconds += seconds
        self._paces.found(frames * self._guessed_pace, seconds)

    def loaded(self, seconds: float) -> None:
        """The engine was opened in so many seconds."""
        self.load_s += (seconds - self.load_s) / 2
