"""Whose fault a failure is, the video's or its machine's: told by what else the machine has done with that engine.

A machine without weights, with a broken library or a full disk fails whatever it is given, at once, and so takes most
of what waits. A failure there is believed only when something was done there since the last one. Otherwise another
machine tries the video. Meanwhile the first one is given the shortest of the others: the longest may be hard for any
machine. When several of those have failed too, it gets no more that needs that engine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from birefnet_batch.executors.units import EngineKey

PROBES = 3
"""Of so many different short videos none was done: the machine is at fault."""


@dataclass
class _Pair:
    """A machine with an engine; without one for what needs none."""

    ever: bool = False
    """Whether anything was done."""
    since: bool = False
    """Whether anything was done since the last failure."""
    failed: set[str] = field(default_factory=set)
    """Jobs that failed since anything was done."""
    probes: set[str] = field(default_factory=set)
    """Those of them that were given to find out."""
    place: str = ""
    reason: str = ""
    """Of the last failure."""

    @property
    def barred(self) -> bool:
        return len(self.probes) >= PROBES


class Doubts:
    """What is known of each machine with each engine; true while there is doubt of any."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, EngineKey | None], _Pair] = {}
        self._doubted: dict[tuple[str, EngineKey | None], _Pair] = {}

    def __bool__(self) -> bool:
        return bool(self._doubted)

    def succeeded(self, node: str, engine: EngineKey | None) -> None:
        """A step was done there."""
        pair = self._pair(node, engine)
        pair.ever = pair.since = True
        pair.failed.clear()
        pair.probes.clear()
        self._doubted.pop((node, engine), None)

    def believes(self, node: str, engine: EngineKey | None, *, lost: bool) -> bool:
        """Whether a failure there is the video's: something was done since the last one.

        Of one that lost its workers as often as may be: something was done there at all.
        """
        pair = self._pair(node, engine)
        return pair.ever if lost else pair.since

    def failed(
        self, node: str, engine: EngineKey | None, job_id: str, *, believed: bool, probe: bool, place: str, reason: str
    ) -> bool:
        """A video failed there for good; unless that is believed it need not be its own fault.

        Returns:
            Whether that is why the machine gets no more that needs this engine, from now on.
        """
        pair = self._pair(node, engine)
        before = pair.barred
        if not believed:
            pair.failed.add(job_id)
            if probe:
                pair.probes.add(job_id)
            self._doubted[node, engine] = pair
        pair.since, pair.place, pair.reason = False, place, reason
        return pair.barred and not before

    def doubts(self, node: str, engine: EngineKey | None) -> bool:
        """Whether the last thing that is known of a machine is a failure that was not believed."""
        return (node, engine) in self._doubted

    def bars(self, node: str, engine: EngineKey | None) -> bool:
        """Whether a machine gets no more that needs this engine."""
        pair = self._doubted.get((node, engine))
        return pair is not None and pair.barred

    def clears(self, nodes: Collection[str], engine: EngineKey | None) -> bool:
        """Whether one of these machines does what needs an engine: what failed there is at fault itself."""
        return any(self._pair(node, engine).ever and not self.bars(node, engine) for node in nodes)

    def barred(self, engine: EngineKey | None) -> list[str]:
        """What is said of each machine that gets no more that needs an engine."""
        return [
            f"on {pair.place} {len(pair.failed)} different videos failed one after another and none was done, "
            f"the last one: {pair.reason}"
            for (_, other), pair in self._doubted.items()
            if other == engine and pair.barred
        ]

    @property
    def nodes(self) -> set[str]:
        """The machines that are doubted."""
        return {node for node, _ in self._doubted}

    def _pair(self, node: str, engine: EngineKey | None) -> _Pair:
        return self._pairs.setdefault((node, engine), _Pair())
