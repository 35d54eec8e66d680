"""What the workers are doing, asked for now and then, for the run's progress."""

from __future__ import annotations

import time
from typing import Any

from birefnet_batch.cluster_view import ClusterView, WorkerView
from birefnet_batch.executors.coordinator import Coordinator
from birefnet_batch.executors.messages import Answer, Status
from birefnet_batch.executors.ray_crew import Crew
from birefnet_batch.progress import Progress

# One driver asks a thousand workers a hundred times a second at most.
_LEAST_S, _PER_WORKER_S = 1.0, 0.01


class Watch:
    """Asks, and tells the progress.

    Args:
        ray: the library.
        crew: the workers.
        coordinator: what is left to do.
        progress: who shows it.
    """

    def __init__(self, ray: Any, crew: Crew, coordinator: Coordinator, progress: Progress) -> None:
        self._ray = ray
        self._crew = crew
        self._coordinator = coordinator
        self._progress = progress
        self._asked: dict[Any, str] = {}
        self._seen: dict[str, int] = {}
        self._answered_frames: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._at: dict[str, tuple[float, int]] = {}
        self._jobs: dict[str, str | None] = {}
        self._looked = 0.0

    def look(self) -> None:
        """Take what answers are there, and ask again when it is time."""
        self._take()
        now = time.monotonic()
        if now - self._looked < max(_LEAST_S, _PER_WORKER_S * len(self._crew.ready)):
            return
        self._looked = now
        asked = set(self._asked.values())
        for name, member in self._crew.ready.items():
            if name not in asked:
                self._asked[member.actor.status.options(concurrency_group="watch").remote()] = name
        scheduler = self._coordinator.scheduler
        self._progress.cluster(
            ClusterView(
                workers=tuple(
                    WorkerView(name, self._jobs.get(name), self._rates.get(name, 0.0)) for name in self._crew.ready
                ),
                waiting=scheduler.waiting,
                retries=self._coordinator.retries,
                seconds_left=scheduler.seconds_left,
            )
        )

    def answered(self, name: str, answer: Answer) -> None:
        """A worker ended a step: what it made is counted even when it was never asked meanwhile."""
        total = self._answered_frames.get(name, 0) + answer.frames
        self._answered_frames[name] = total
        self._count(name, total)

    def lost(self, name: str) -> None:
        """A worker is gone."""
        self._asked = {reference: who for reference, who in self._asked.items() if who != name}

    def _take(self) -> None:
        if not self._asked:
            return
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        for reference in ready:
            name = self._asked.pop(reference)
            try:
                status: Status = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                # Its call in hand says so too, and that is acted upon.
                continue
            self._jobs[name] = status.job_id
            self._coordinator.told(name, status)
            then, frames = self._at.setdefault(name, (status.at, status.frames))
            # After a pause two answers come at once, and a batch between them is no pace.
            if status.at - then >= _LEAST_S / 2:
                self._rates[name] = (status.frames - frames) / (status.at - then)
                self._at[name] = (status.at, status.frames)
            self._count(name, status.frames)

    def _count(self, name: str, total: int) -> None:
        new = total - self._seen.get(name, 0)
        if new > 0:
            self._seen[name] = total
            self._progress.frames(new)
