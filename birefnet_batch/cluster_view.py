"""How the workers of a cluster stand, as a run shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerView:
    """A worker of a cluster, as it is shown."""

    name: str
    job_id: str | None
    """What it is at; None when it is idle."""
    rate: float
    """Frames a second, lately."""


@dataclass(frozen=True)
class ClusterView:
    """All workers of a cluster, as they are shown."""

    workers: tuple[WorkerView, ...]
    waiting: int
    """Videos and segments that no worker has."""
    retries: int
    seconds_left: float | None
    """None while there is nothing to estimate it from."""

    @property
    def brief(self) -> str:
        """What stands beside a line for each worker."""
        return f"{self.waiting} waiting{f', {self.retries} retries' if self.retries else ''}"

    def __str__(self) -> str:
        rates = sorted(worker.rate for worker in self.workers if worker.job_id is not None)
        each = f" ({rates[0]:.1f} to {rates[-1]:.1f} frames/s each)" if rates else ""
        return f"{len(rates)} of {len(self.workers)} workers busy{each}, {self.brief}"
