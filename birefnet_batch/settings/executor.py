"""The group `executor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from birefnet_batch.settings.fields import Choice, Group, setting


class ExecutorName(Choice):
    """Who runs the segments."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class ExecutorSettings(Group):
    """Who runs the segments, and how often a lost one is tried again.

    Ray's are marked. Nothing here decides a byte of a result.
    """

    name: ExecutorName = setting(ExecutorName.local, "local | ray")
    max_retries: int = setting(1, "further tries of what was lost with a decoding process, a worker or a node")
    address: str | None = setting(None, "Ray: a cluster to join, auto or HOST:PORT; null starts one on this machine")
    workers: int | None = setting(None, "Ray: how many workers; null is as many as the cluster has room for")
    gpus_per_worker: float = setting(1.0, "Ray: a worker's share of GPUs, 0.5 puts two on each; without GPUs unused")
    cpus_per_worker: float | None = setting(
        None, "Ray: CPUs that a worker reserves; null is engine.threads without GPUs, else 1"
    )
    resources: dict[str, float] = setting(
        {}, "Ray: an amount of a further resource that a worker reserves", keys="RESOURCE"
    )
    runtime_env: dict[str, Any] = setting(
        {}, "Ray: the workers' runtime environment (env_vars, pip, working_dir, ...)", keys="FIELD"
    )
    scratch: str | None = setting(
        None, "Ray: where parts travel between machines, a folder or URI that all see; null is the run's scratch folder"
    )
    engine_memory_gib: float | None = setting(
        None,
        "memory for a worker's open engines; null is half of its share of the GPU's or of what the machine gives it",
    )
    grace_s: float = setting(30.0, "Ray: seconds that running segments have to finish when the run is stopped")
