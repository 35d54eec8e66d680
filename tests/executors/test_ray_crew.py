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
from birefnet_batch.executors.ray_crew import Crew, Member
from birefnet_batch.executors.ray_room import Share
from birefnet_batch.executors.same_code import Code
from birefnet_batch.versions import CHECKOUT

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")


class Cluster:
    """A cluster whose nodes are a list."""

    def __init__(self, grows: bool = True) -> None:
        self.there: list[dict[str, float]] = [{"CPU": 0.0}]
        self.grows = grows

    def share(self) -> Share:
        return Share(cpus=2, gpus=1)

    def nodes(self) -> list[dict[str, float]]:
        return self.there

    def wanted(self, share: Share) -> int:
        return 1


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ray_crew, "time", clock)
    monkeypatch.setattr(Crew, "_start", lambda crew: crew._starting.update({len(crew._starting): ("w", None)}))
    return clock


def looked(crew: Crew, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        crew.keep_up(needed=5)
        clock.now += 1


def test_a_cluster_without_room_is_asked_for_a_worker_and_what_it_lacks_is_said_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster: Any = Cluster()
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 130)
    assert len(crew.greetings) == 1
    said = [record.message for record in caplog.records]
    assert len(said) == 3
    assert "reserves 2 CPU, 1 GPU" in said[0]
    assert "1 node has 0 CPU, 0 GPU" in said[0]


def test_a_run_whose_own_ray_has_no_node_any_more_ends(clock: Clock) -> None:
    cluster: Any = Cluster(grows=False)
    crew = Crew(cluster, SimpleNamespace())  # type: ignore[arg-type]
    looked(crew, clock, seconds=3)
    cluster.there.clear()
    with pytest.raises(NoWorkerError, match="has lost its node process"):
        looked(crew, clock, seconds=3)


def test_a_joined_cluster_without_any_node_may_still_get_one(clock: Clock) -> None:
    cluster: Any = Cluster()
    crew = Crew(cluster, SimpleNamespace())  # type: ignore[arg-type]
    cluster.there.clear()
    looked(crew, clock, seconds=100)


def test_workers_that_do_not_start_where_there_is_room_are_said_after_a_while(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster: Any = Cluster()
    cluster.there = [{"CPU": 4.0, "GPU": 1.0}]
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew._ray = type("Ray", (), {"available_resources": staticmethod(lambda: {"CPU": 1.0})})
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 30)
        assert not caplog.records
        looked(crew, clock, 10)
        (record,) = caplog.records
        assert "each reserves 2 CPU, 1 GPU, and of the whole cluster 1 CPU, 0 GPU are free" in record.message
        assert record.message.endswith("other runs hold at least 1 CPU")
        crew.ready["w"] = None  # type: ignore[assignment]
        looked(crew, clock, 100)
    assert len(caplog.records) == 1


def test_a_run_whose_own_workers_are_slow_to_start_does_not_say_that_others_are_in_the_way(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster: Any = Cluster()
    cluster.there = [{"CPU": 2.0, "GPU": 1.0}]
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew._ray = type("Ray", (), {"available_resources": staticmethod(dict)})
    clock.now += 100
    with caplog.at_level(logging.WARNING):
        looked(crew, clock, 30)
        assert not caplog.records, "it was asked for just now"
        looked(crew, clock, 10)
    (record,) = caplog.records
    assert "other runs hold" not in record.message
    assert "they are loading their libraries" in record.message


@pytest.fixture
def mixed(clock: Clock) -> Crew:
    """Four workers that start; those whose names begin with `bad` will say that they cannot work."""
    cluster: Any = Cluster()
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew._kill = lambda actor: None  # type: ignore[method-assign]
    crew._ray = SimpleNamespace(
        get=lambda name: Hello(error="a package is missing") if name.startswith("bad") else Hello("node", "host")
    )
    crew._starting.update({name: (name, None) for name in ("bad 1", "bad 2", "bad 3", "good")})
    return crew


def test_a_node_where_none_can_work_does_not_end_a_run_while_workers_of_another_start(mixed: Crew) -> None:
    assert [mixed.greeted(name) for name in ("bad 1", "bad 2", "bad 3")] == [None] * 3
    assert mixed.greeted("good") is not None


def test_a_run_whose_every_worker_cannot_work_ends_as_a_wrong_configuration(mixed: Crew) -> None:
    del mixed._starting["good"]
    with pytest.raises(ConfigError, match="No worker can work; the last one says: a package is missing"):
        [mixed.greeted(name) for name in ("bad 1", "bad 2", "bad 3")]


def test_a_run_that_had_workers_ends_for_want_of_them_and_not_as_a_wrong_configuration(mixed: Crew) -> None:
    mixed.greeted("good")
    mixed.lose("good")
    with pytest.raises(NoWorkerError, match="No worker can work"):
        [mixed.greeted(name) for name in ("bad 1", "bad 2", "bad 3")]


def test_where_no_worker_can_work_the_next_is_started_later_and_later(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster: Any = Cluster()
    cluster.there = [{"CPU": 4.0, "GPU": 1.0}]
    cluster.wanted = lambda share: 2
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew.ready["well"] = None  # type: ignore[assignment]
    crew._kill = lambda actor: None  # type: ignore[method-assign]
    crew._ray = SimpleNamespace(get=lambda reference: Hello(error="a package is missing"))
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
    crew._ray = SimpleNamespace(get=lambda reference: Hello("node", "host"))
    clock.now += 60
    crew.keep_up(needed=5)
    assert crew.greeted(crew.greetings[0]) is not None
    del crew.ready["well"]
    clock.now += 3
    crew.keep_up(needed=5)
    assert len(crew.greetings) == 1


def test_in_the_stead_of_workers_that_may_do_nothing_others_are_started_on_other_nodes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster: Any = Cluster()
    cluster.wanted = lambda share: 2
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    room = {"CPU": 4.0, "GPU": 2.0}
    nodes = [{"NodeID": name, "Alive": name != "dead", "Resources": room} for name in ("bad", "dead", "good")]
    crew._ray = SimpleNamespace(nodes=lambda: nodes)
    started: list[str | None] = []

    def start(crew: Crew, node: str | None = None) -> None:
        started.append(node)
        member = Member(f"worker-{len(started)}", None, node or "bad", "host")
        crew.ready[member.name] = member

    monkeypatch.setattr(Crew, "_start", start)
    for idle in ({}, {"bad": 2}, {"bad": 2}, {"bad": 2}):
        clock.now += 10
        crew.keep_up(needed=5, idle=idle)
    assert started == [None, None, "good", "good"], "two that work are wanted, and two have nothing to do"


def test_amounts_that_ray_does_not_give_are_a_wrong_configuration() -> None:
    def refused(**options: Any) -> Any:
        raise ValueError(f"TPU is {options['resources']['TPU']}; it must be a whole number")

    cluster: Any = Cluster()
    cluster.share = lambda: Share(cpus=1, gpus=0, others=(("TPU", 1.5),))
    cluster.actor_environment = dict
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew._ray = SimpleNamespace(remote=lambda **_: lambda actor: SimpleNamespace(options=refused))
    with pytest.raises(ConfigError, match=r"reserves 1 CPU, 1\.5 TPU: TPU is .*; give another amount in"):
        crew._start()


@pytest.mark.parametrize(
    ("package", "pipeline", "works"),
    [("same", 0, True), ("0.0.1", 0, False), ("same", 1, False), (CHECKOUT, 0, True), (CHECKOUT, 1, False)],
)
def test_a_worker_with_another_version_of_this_package_is_not_given_work(
    package: str, pipeline: int, works: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crew, "_kill", lambda crew, actor: None)
    here = Code("0.9.0", 14)
    monkeypatch.setattr(Code, "here", lambda: here)
    there = Code("0.9.0" if package == "same" else package, 14 + pipeline)
    cluster: Any = Cluster()
    crew = Crew(cluster, context=None)  # type: ignore[arg-type]
    crew._ray = SimpleNamespace(get=lambda reference: Hello("node", "host", code=there))
    crew._starting = {0: ("w", None), 1: ("v", None)}
    member = crew.greeted(0)
    assert (member is not None) == works
