"""What answers and questions of workers come to, without any cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch import Settings
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.coordinator import Coordinator
from birefnet_batch.executors.messages import Status
from birefnet_batch.executors.units import EngineKey, Unit

LIGHT: EngineKey = ("light", 1024, 1024, "fp16")


@pytest.fixture
def coordinator() -> Coordinator:
    context = RunContext("run", Settings(), output=None, versions={})  # type: ignore[arg-type]
    made = Coordinator(context, lambda: 0.0)
    made.scheduler.join("worker-1", "node-1")
    return made


def segment(index: int, frames: float = 100) -> Unit:
    job: Any = SimpleNamespace(job_id="long-1", display_uri="long.mp4")
    return Unit(job, "segment", LIGHT, frames, index=index)


def test_what_a_worker_says_of_a_segment_that_it_has_ended_does_not_count_for_its_next(
    coordinator: Coordinator,
) -> None:
    coordinator.scheduler.add([segment(0), segment(1)])
    taken = coordinator.scheduler.take("worker-1")
    assert taken is not None
    (state,) = coordinator.scheduler.workers.values()
    coordinator.told("worker-1", Status("long-1", 90, step="segment", index=1 - taken.index, made=90, seconds=9.0))
    assert state.made == 0
    coordinator.told("worker-1", Status("long-1", 90, step="segment", index=taken.index, made=90, seconds=180.0))
    assert (state.made, state.until) == (90, 20.0)
    coordinator.told("worker-2", Status())
