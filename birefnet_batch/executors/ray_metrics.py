"""What workers and driver count, on Ray's Prometheus endpoint: `ray_birefnet_...` (docs/cluster.md)."""

from __future__ import annotations

from collections.abc import Mapping

from birefnet_batch.executors.units import EngineKey


class WorkerMetrics:
    """A worker's counters."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter

        self._frames = Counter("birefnet_frames", "Frames made", ("model",))
        self._stages = Counter("birefnet_stage_seconds", "Busy seconds of each stage", ("stage", "model"))
        self._opens = Counter("birefnet_engine_opens", "Engines opened", ("model", "size"))
        self._open_seconds = Counter("birefnet_engine_open_seconds", "Seconds spent opening engines", ("model",))
        self._builds = Counter("birefnet_engine_builds", "Engines built", ("model", "size"))

    def frames(self, model: str, count: int) -> None:
        """Frames were made, at least one."""
        self._frames.inc(count, {"model": model})

    def stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """A segment ended."""
        for stage, busy in seconds.items():
            if busy > 0:
                self._stages.inc(busy, {"stage": stage, "model": model})

    def opened(self, engine: EngineKey, seconds: float, built: bool) -> None:
        """An engine was opened, and before that perhaps built."""
        model, size = engine[0], f"{engine[1]}x{engine[2]}"
        self._opens.inc(1, {"model": model, "size": size})
        self._open_seconds.inc(max(seconds, 1e-6), {"model": model})
        if built:
            self._builds.inc(1, {"model": model, "size": size})


class DriverMetrics:
    """The driver's counters."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        self._videos = Counter("birefnet_videos", "Videos ended", ("status",))
        self._retries = Counter("birefnet_retries", "Lost work that was tried again")
        self._waiting = Gauge("birefnet_queue", "Videos and segments that wait for a worker")
        self._workers = Gauge("birefnet_workers", "Workers that are ready")
        self._counted = 0

    def ended(self, status: str) -> None:
        """A video ended."""
        self._videos.inc(1, {"status": status})

    def now(self, *, retries: int, waiting: int, workers: int) -> None:
        """How the run stands."""
        if retries > self._counted:
            self._retries.inc(retries - self._counted)
            self._counted = retries
        self._waiting.set(waiting)
        self._workers.set(workers)
