"""What is shown of workers, from what they say of themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")

from birefnet_batch.executors.messages import Status
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
def test_a_worker_s_rate_is_told_by_its_own_clock(said: list[tuple[int, float]], rate: float) -> None:
    crew = SimpleNamespace(ready={"worker-1": None})
    frames: list[int] = []
    coordinator = SimpleNamespace(told=lambda name, status: None)
    watch = Watch(crew, coordinator, SimpleNamespace(frames=frames.append))  # type: ignore[arg-type]
    watch._ray = Answers(*(Status("job", made, at=at) for made, at in said))
    for number in range(len(said)):
        watch._asked = {number: "worker-1"}
        watch._take()
    assert watch._rates.get("worker-1", 0.0) == pytest.approx(rate)
    assert sum(frames) == said[-1][0]
