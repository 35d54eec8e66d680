"""What a crew of actors says while nobody works."""

from __future__ import annotations

import logging
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import ConfigError, NoWorkerError
from birefnet_batch.executors import ray_crew
from birefnet_batch.executors.messages import Hello
from birefnet_batch.executors.ray_crew import Crew
from birefnet_batch.executors.ray_room import Share
from birefnet_batch.executors.same_code import Code
from birefnet_batch.versions import CHECKOUT

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")


class Ray:
    """As much of Ray as a crew asks of it: actors that say what they are told to say, in the order of their start."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, *hellos: Hello) -> None:
        self.hellos = list(hellos)
        self.nodes_there: list[dict[str, Any]] = []
        self.free: dict[str, float] = {}
        self.started: list[str | None] = []
        """The node that each actor was to be on."""

    def remote(self, **_: Any) -> Any:
        return lambda actor_class: SimpleNamespace(options=self._options)

    def _options(self, scheduling_strategy: Any = None, **_: Any) -> Any:
        node = None if scheduling_strategy is None else scheduling_strategy.node_id

        def start(name: str, context: Any) -> Any:
            self.started.append(node)
            return SimpleNamespace(hello=SimpleNamespace(remote=lambda: name))

        return SimpleNamespace(remote=start)

    def get(self, name: str) -> Hello:
        return self.hellos[min(int(name.removeprefix("worker-")), len(self.hellos)) - 1]

    def kill(self, actor: Any, no_restart: bool) -> None:
        pass

    def nodes(self) -> list[dict[str, Any]]:
        return self.nodes_there

    def available_resources(self) -> dict[str, float]:
        return self.free


class Cluster:
    """A cluster whose nodes are a list."""

    def __init__(self, grows: bool = True, workers: int = 1) -> None:
        self.there: list[dict[str, float]] = [{"CPU": 0.0}]
        self.grows = grows
        self.workers = workers

    def share(self) -> Share:
        return Share(cpus=2, gpus=1)

    def nodes(self) -> list[dict[str, float]]:
        return self.there

    def wanted(self, share: Share) -> int:
        return self.workers

    def actor_environment(self) -> None:
        return None


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ray_crew, "time", clock)
    return clock


GOOD, BAD = Hello("node", "host"), Hello(error="a package is missing")


def crew_of(ray: Ray, cluster: Cluster) -> Crew:
    there: Any = cluster
    context: Any = None
    return Crew(ray, there, context)


def looked(crew: Crew, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        crew.keep_up(needed=5)
        clock.now += 1


def test_a_cluster_without_room_is_asked_for_a_worker_and_what_it_lacks_is_said_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    crew = crew_of(Ray(), Cluster())
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 130)
    assert len(crew.greetings) == 1
    said = [record.message for record in caplog.records]
    assert len(said) == 3
    assert "reserves 2 CPU, 1 GPU" in said[0]
    assert "1 node has 0 CPU, 0 GPU" in said[0]


def test_a_run_whose_own_ray_has_no_node_any_more_ends(clock: Clock) -> None:
    cluster = Cluster(grows=False)
    crew = crew_of(Ray(), cluster)
    looked(crew, clock, seconds=3)
    cluster.there.clear()
    with pytest.raises(NoWorkerError, match="has lost its node process"):
        looked(crew, clock, seconds=3)


def test_a_joined_cluster_without_any_node_may_still_get_one(clock: Clock) -> None:
    cluster = Cluster()
    crew = crew_of(Ray(), cluster)
    cluster.there.clear()
    looked(crew, clock, seconds=100)


def test_workers_that_do_not_start_where_there_is_room_are_said_after_a_while(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, ray = Cluster(), Ray(GOOD)
    cluster.there = [{"CPU": 4.0, "GPU": 1.0}]
    ray.free = {"CPU": 1.0}
    crew = crew_of(ray, cluster)
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 30)
        assert not caplog.records
        looked(crew, clock, 10)
        (record,) = caplog.records
        assert "each reserves 2 CPU, 1 GPU, and of the whole cluster 1 CPU, 0 GPU are free" in record.message
        assert record.message.endswith("other runs hold at least 1 CPU")
        crew.greeted(crew.greetings[0])
        looked(crew, clock, 100)
    assert len(caplog.records) == 1


def test_a_run_whose_own_workers_are_slow_to_start_does_not_say_that_others_are_in_the_way(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.there = [{"CPU": 2.0, "GPU": 1.0}]
    crew = crew_of(Ray(), cluster)
    clock.now += 100
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 30)
        assert not caplog.records, "it was asked for just now"
        looked(crew, clock, 10)
    (record,) = caplog.records
    assert "other runs hold" not in record.message
    assert "they are loading their libraries" in record.message


def starting(*hellos: Hello) -> Crew:
    """So many workers start, and will say this."""
    crew = crew_of(Ray(*hellos), Cluster(workers=len(hellos)))
    crew.keep_up(needed=len(hellos))
    return crew


def test_a_node_where_none_can_work_does_not_end_a_run_while_workers_of_another_start(clock: Clock) -> None:
    crew = starting(BAD, BAD, BAD, GOOD)
    *bad, good = crew.greetings
    assert [crew.greeted(reference) for reference in bad] == [None] * 3
    assert crew.greeted(good) is not None


def test_a_run_whose_every_worker_cannot_work_ends_as_a_wrong_configuration(clock: Clock) -> None:
    crew = starting(BAD, BAD, BAD)
    with pytest.raises(ConfigError, match="No worker can work; the last one says: a package is missing"):
        [crew.greeted(reference) for reference in crew.greetings]


@pytest.mark.parametrize("grows", [False, True])
def test_one_machine_where_workers_die_at_their_start_one_after_another_is_given_up_and_a_cluster_that_may_grow_is_not(
    grows: bool, clock: Clock
) -> None:
    crew = crew_of(Ray(BAD), Cluster(grows, workers=2))
    crew.keep_up(needed=5)

    def die_in_turn() -> None:
        for _ in range(10):
            # The next one is started before the other one of two has died.
            crew.greeted(crew.greetings[0])
            clock.now += 100
            crew.keep_up(needed=5)

    if grows:
        die_in_turn()
        assert len(crew.greetings) == 2
    else:
        with pytest.raises(ConfigError, match="No worker can work; the last one says: a package is missing"):
            die_in_turn()


def test_a_run_that_had_workers_ends_for_want_of_them_and_not_as_a_wrong_configuration(clock: Clock) -> None:
    crew = starting(GOOD, BAD, BAD, BAD)
    good, *bad = crew.greetings
    member = crew.greeted(good)
    assert member is not None
    crew.lose(member.name)
    with pytest.raises(NoWorkerError, match="No worker can work"):
        [crew.greeted(reference) for reference in bad]


def test_where_no_worker_can_work_the_next_is_started_later_and_later(clock: Clock) -> None:
    cluster, ray = Cluster(workers=1), Ray(GOOD, BAD)
    cluster.there = [{"CPU": 4.0, "GPU": 1.0}]
    crew = crew_of(ray, cluster)
    crew.keep_up(needed=5)
    well = crew.greeted(crew.greetings[0])
    assert well is not None
    cluster.workers = 2
    starts = []
    for _ in range(300):
        crew.keep_up(needed=5)
        for reference in crew.greetings:
            starts.append(clock.now)
            assert crew.greeted(reference) is None
        clock.now += 1
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits == sorted(waits)
    assert (waits[0] <= 6, waits[-1]) == (True, 60)
    # One that can work ends that.
    ray.hellos = [GOOD]
    clock.now += 60
    crew.keep_up(needed=5)
    assert crew.greeted(crew.greetings[0]) is not None
    crew.lose(well.name)
    clock.now += 3
    crew.keep_up(needed=5)
    assert len(crew.greetings) == 1


def test_in_the_stead_of_workers_that_may_do_nothing_others_are_started_on_other_nodes(clock: Clock) -> None:
    bad, dead, good = (letter * 56 for letter in "bde")
    ray = Ray(Hello(bad, "host"), Hello(bad, "host"), Hello(good, "host"))
    room = {"CPU": 4.0, "GPU": 2.0}
    ray.nodes_there = [{"NodeID": name, "Alive": name != dead, "Resources": room} for name in (bad, dead, good)]
    crew = crew_of(ray, Cluster(workers=2))
    for idle in ({}, {bad: 2}, {bad: 2}, {bad: 2}):
        clock.now += 10
        crew.keep_up(needed=5, idle=idle)
        for reference in crew.greetings:
            crew.greeted(reference)
    assert ray.started == [None, None, good, good], "two that work are wanted, and two have nothing to do"


def test_amounts_that_ray_does_not_give_are_a_wrong_configuration(clock: Clock) -> None:
    def refused(**options: Any) -> Any:
        raise ValueError(f"TPU is {options['resources']['TPU']}; it must be a whole number")

    cluster: Any = Cluster()
    cluster.share = lambda: Share(cpus=1, gpus=0, others=(("TPU", 1.5),))
    ray: Any = SimpleNamespace(remote=lambda **_: lambda actor: SimpleNamespace(options=refused))
    with pytest.raises(ConfigError, match=r"reserves 1 CPU, 1\.5 TPU: TPU is .*; give another amount in"):
        crew_of(ray, cluster).keep_up(needed=1)


@pytest.mark.parametrize(
    ("package", "pipeline", "works"),
    [("same", 0, True), ("0.0.1", 0, False), ("same", 1, False), (CHECKOUT, 0, True), (CHECKOUT, 1, False)],
)
def test_a_worker_with_another_version_of_this_package_is_not_given_work(
    package: str, pipeline: int, works: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Code("0.9.0", 14)
    monkeypatch.setattr(Code, "here", lambda: here)
    there = Code("0.9.0" if package == "same" else package, 14 + pipeline)
    crew = starting(*[Hello("node", "host", code=there)] * 2)
    member = crew.greeted(crew.greetings[0])
    assert (member is not None) == works
