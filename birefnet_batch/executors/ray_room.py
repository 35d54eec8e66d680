"""What a worker reserves of a Ray cluster, and what the cluster lacks for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SOURCES = {"CPU": "executor.cpus_per_worker, by default engine.threads", "GPU": "executor.gpus_per_worker"}
_KINDS_OF_NODES = 8
_REMIND_EVERY_S = 60.0


@dataclass(frozen=True)
class Share:
    """What one worker reserves."""

    cpus: float
    gpus: float
    others: tuple[tuple[str, float], ...] = ()

    @property
    def wanted(self) -> dict[str, float]:
        """Resource -> amount, by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, **dict(self.others)}

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many workers a node with such resources has room for."""
        rooms = [int(resources.get(name, 0.0) / amount + 1e-6) for name, amount in self.wanted.items() if amount > 0]
        return min(rooms, default=0)

    def options(self) -> dict[str, Any]:
        """As the options of an actor."""
        others = dict(self.others)
        # Ray's nodes list it with the others, but it has an option of its own, in whole bytes.
        memory = int(others.pop("memory", 0))
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": memory or None, "resources": others}

    def __str__(self) -> str:
        return amounts(self.wanted, [name for name, amount in self.wanted.items() if amount > 0])


def lacking(share: Share, nodes: Iterable[Mapping[str, float]]) -> str | None:
    """What a cluster lacks for one worker, in a sentence; None when a node has room for one.

    Args:
        share: what the worker reserves.
        nodes: the resources of each living node.
    """
    nodes = list(nodes)
    if any(share.fits(node) for node in nodes):
        return None
    sources = "; ".join(
        f"{name}: {_SOURCES.get(name, f'executor.resources.{name}')}"
        for name, amount in share.wanted.items()
        if amount > 0
    )
    return f"no node has room for a worker, which reserves {share} ({sources}); {_described(nodes, list(share.wanted))}"


def amounts(resources: Mapping[str, float], names: Iterable[str]) -> str:
    """How much there is of some resources."""
    return ", ".join(f"{resources.get(name, 0.0):g} {name}" for name in names) or "nothing"


def held_by_others(
    share: Share, starting: int, nodes: Iterable[Mapping[str, float]], free: Mapping[str, float]
) -> str | None:
    """What others surely have of the resources that a worker needs: what is taken and cannot be our own workers'.

    Args:
        share: what one of our workers reserves.
        starting: how many of ours wait for a place, or have one and are not ready.
        nodes: the resources of each living node.
        free: what nobody has.
    """
    nodes = list(nodes)
    taken = {name: sum(node.get(name, 0.0) for node in nodes) - free.get(name, 0.0) for name in share.wanted}
    others = {name: count - starting * share.wanted[name] for name, count in taken.items() if share.wanted[name] > 0}
    held = [name for name, count in others.items() if count > 1e-6]
    return amounts(others, held) if held else None


def node_beside(
    share: Share, nodes: Iterable[Mapping[str, Any]], avoided: Collection[str], taken: Mapping[str, int]
) -> str | None:
    """A living node with room for a further worker that is none of those avoided.

    Args:
        share: what the worker reserves.
        nodes: as Ray tells of them.
        avoided: some of their numbers.
        taken: how many workers of ours a node has.
    """
    for node in nodes:
        name = str(node["NodeID"])
        if node["Alive"] and name not in avoided and share.fits(node["Resources"]) > taken.get(name, 0):
            return name
    return None


class Reminder:
    """When to say something that lasts: once, then every minute."""

    def __init__(self) -> None:
        self._said: float | None = None

    def due(self, lasts: bool, now: float) -> bool:
        """Whether it is to be said now; what does not last any more is said at once when it comes again."""
        if not lasts:
            self._said = None
            return False
        if self._said is not None and now - self._said < _REMIND_EVERY_S:
            return False
        self._said = now
        return True


def _described(nodes: Iterable[Mapping[str, float]], names: Iterable[str]) -> str:
    """How much nodes have of some resources, those that have the same together."""
    alike = Counter(amounts(node, names) for node in nodes)
    if not alike:
        return "there are no nodes"
    return ", ".join(
        f"{count} node{'s have' if count > 1 else ' has'} {resources}"
        for resources, count in alike.most_common(_KINDS_OF_NODES)
    )
