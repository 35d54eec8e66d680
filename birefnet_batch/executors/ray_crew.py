"""The actors of a run: as many as there is room for, a new one for each that is lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from birefnet_batch.errors import ConfigError, NoWorkerError
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.messages import Call, Hello
from birefnet_batch.executors.ray_causes import cause
from birefnet_batch.executors.ray_cluster import RayCluster
from birefnet_batch.executors.ray_room import Reminder, amounts, held_by_others, lacking, node_beside
from birefnet_batch.executors.ray_worker import RayWorker
from birefnet_batch.executors.same_code import Code

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 2.0
# Workers take so long to start, where there is room for them.
_PATIENCE_S = 30.0
# Workers that say at once that they cannot work, before the run is given up.
_REFUSALS = 3
# After each the next is started later, up to this: a node where none can work would be asked without end.
_LONGEST_WAIT_S = 60.0
_CLOSE_S = 10.0


@dataclass
class Member:
    """A worker that is ready."""

    name: str
    actor: Any
    node: str
    host: str

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.name} on {self.host}"


class Crew:
    """Starts, replaces and ends a run's actors.

    Args:
        ray: the library.
        cluster: where.
        context: the run, its settings resolved.
    """

    def __init__(self, ray: Any, cluster: RayCluster, context: RunContext) -> None:
        self._ray = ray
        self._cluster = cluster
        self._context = context
        self._share = cluster.share()
        self._number = 0
        self._starting: dict[Any, tuple[str, Any]] = {}
        self._looked = 0.0
        self._worked = time.monotonic()
        self._reminder = Reminder()
        self._refusals = 0
        self._start_again = 0.0
        self._could_work = False
        self.ready: dict[str, Member] = {}

    @property
    def greetings(self) -> list[Any]:
        """References that are there when a worker has started."""
        return list(self._starting)

    def keep_up(self, needed: int, idle: Mapping[str, int] | None = None) -> None:
        """Start workers until there are as many as there is room for, but not more than `needed`.

        Args:
            needed: for how many there is something to do.
            idle: nodes whose workers, so many, may do nothing of that; in their stead others are started elsewhere.

        Raises:
            ConfigError: Ray does not take what a worker is to reserve.
            NoWorkerError: there is no node any more, and none will come.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        if not self._starting:
            # Whoever starts now has not taken long yet.
            self._worked = now
        wanted = min(self._cluster.wanted(self._share), needed)
        missing = wanted - len(self.ready) - len(self._starting)
        for _ in range(missing if now >= self._start_again and not self._nearly_given_up else 0):
            self._start()
        if idle and missing <= 0 and not self._starting and wanted > len(self.ready) - sum(idle.values()):
            there = Counter(member.node for member in self.ready.values())
            node = node_beside(self._share, self._ray.nodes(), idle, there)
            if node is not None:
                self._start(node)
        self._warn(now)

    def greeted(self, reference: Any) -> Member | None:
        """A worker has started, or has not: then another one will be.

        Raises:
            ConfigError: none can.
            NoWorkerError: none can any more.
        """
        name, actor = self._starting.pop(reference)
        try:
            hello: Hello = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            hello = Hello(error=f"its process did not start ({cause(error)})")
        if hello.code is not None and hello.code.differs(Code.here()):
            other = f"{hello.host} has {hello.code}, and the driver {Code.here()}; install the same on all machines"
            hello = Hello(error=other)
        if hello.error is not None:
            self._refusals += 1
            self._start_again = time.monotonic() + min(_LONGEST_WAIT_S, _LOOK_EVERY_S * 2**self._refusals)
            _log.warning("%s cannot work: %s", name, hello.error)
            self._kill(actor)
            # One broken node says so before a good one has loaded its libraries.
            if self._refused_often and not self._starting:
                kind = NoWorkerError if self._could_work else ConfigError
                raise kind(f"No worker can work; the last one says: {hello.error}")
            return None
        self._could_work = True
        self._refusals, self._start_again = 0, 0.0
        member = Member(name, actor, hello.node, hello.host)
        self.ready[name] = member
        return member

    @property
    def _refused_often(self) -> bool:
        return self._refusals >= _REFUSALS and not self.ready

    @property
    def _nearly_given_up(self) -> bool:
        # With a further one always on its way a machine where all die at their start would be tried without end.
        return self._refused_often and bool(self._starting) and not self._cluster.grows

    def call(self, name: str, call: Call) -> Any:
        """Give a worker a step; the reference of its answer."""
        return self.ready[name].actor.work.remote(call)

    def lose(self, name: str) -> Member:
        """A worker is lost: make sure of that, for what it may still do is done again by another."""
        member = self.ready.pop(name)
        self._kill(member.actor)
        self._looked = 0.0
        return member

    def close(self) -> None:
        """End all workers; those that are idle clean up first."""
        closing = [member.actor.close.remote() for member in self.ready.values()]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
        for actor in [member.actor for member in self.ready.values()] + [actor for _, actor in self._starting.values()]:
            self._kill(actor)
        self.ready.clear()
        self._starting.clear()

    def _start(self, node: str | None = None) -> None:
        self._number += 1
        name = f"worker-{self._number}"
        where: dict[str, Any] = {}
        if node is not None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            where["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        # Questions are answered beside the work.
        actor_class = self._ray.remote(concurrency_groups={"watch": 1})(RayWorker)
        try:
            actor: Any = actor_class.options(
                **self._share.options(),
                **where,
                # A replacement is a new actor: an own restart would hide how often a video killed its worker.
                max_restarts=0,
                max_task_retries=0,
                runtime_env=self._cluster.actor_environment(),
            ).remote(name, self._context)
        except ValueError as error:
            # Of some accelerators it gives whole ones alone.
            raise ConfigError(
                f"Ray starts no worker that reserves {self._share}: {error}; give another amount in executor.resources"
            ) from None
        self._starting[actor.hello.remote()] = (name, actor)

    def _kill(self, actor: Any) -> None:
        self._ray.kill(actor, no_restart=True)

    def _warn(self, now: float) -> None:
        """As long as nobody works, say why."""
        if self.ready:
            self._worked = now
        nodes = self._cluster.nodes()
        if not nodes and not self._cluster.grows:
            raise NoWorkerError(
                "The Ray that this run started has lost its node process (raylet), which something killed: look "
                "whether the machine ran out of memory; the same command goes on with what is left"
            )
        lack = None if self.ready else lacking(self._share, nodes)
        if not self._reminder.due(lack is not None or now - self._worked > _PATIENCE_S, now):
            return
        if lack is not None:
            _log.warning("the run waits for a worker: %s; a node that joins with that much is used", lack)
            return
        free = self._ray.available_resources()
        taken = held_by_others(self._share, len(self._starting), nodes, free)
        _log.warning(
            "no worker has started for %d s: each reserves %s, and of the whole cluster %s are free; %s",
            round(now - self._worked),
            self._share,
            amounts(free, self._share.wanted),
            f"other runs hold at least {taken}"
            if taken
            else "they are loading their libraries, or their runtime environment is being set up, unless another run "
            "has their place",
        )
