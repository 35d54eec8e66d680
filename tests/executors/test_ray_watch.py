"""What is shown of workers, from what they say of themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")

from birefnet_batch.cluster_view import ClusterView
from birefnet_batch.executors import ray_watch
from birefnet_batch.executors.messages import Status
from birefnet_batch.executors.ray_crew import Member
from birefnet_batch.executors.ray_watch import Watch


class Answers:
    """As much of Ray as hands over what a worker has said, one answer at a time."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, *said: Status) -> None:
        self._said = list(said)

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references, []

    def get(self, _: Any) -> Status:
        return self._said.pop(0)


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ([(0, 10.0), (8, 12.0)], 4.0),
        # The first answer was read late, and the second came at once behind it.
        ([(0, 10.0), (4, 19.99), (8, 20.0)], 4 / 9.99),
        ([(8, 10.0)], 0.0),
    ],
    ids=["in turn", "after a pause", "the first"],
)
def test_a_worker_s_rate_is_told_by_its_own_clock(
    said: list[tuple[int, float]], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(ray_watch, "time", clock)
    question = SimpleNamespace(remote=object)
    actor = SimpleNamespace(status=SimpleNamespace(options=lambda concurrency_group: question))
    crew: Any = SimpleNamespace(ready={"worker-1": Member("worker-1", actor, "node", "host")})
    coordinator: Any = SimpleNamespace(
        told=lambda name, status: None, scheduler=SimpleNamespace(waiting=0, seconds_left=None), retries=0
    )
    frames: list[int] = []
    views: list[ClusterView] = []
    progress: Any = SimpleNamespace(frames=frames.append, cluster=views.append)
    watch = Watch(Answers(*(Status("job", made, at=at) for made, at in said)), crew, coordinator, progress)
    for _ in range(1 + len(said)):
        watch.look()
        clock.now += 2
    assert views[-1].workers[0].rate == pytest.approx(rate)
    assert sum(frames) == said[-1][0]
