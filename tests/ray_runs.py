"""Runs on a real Ray cluster with trivial engines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import faults
from batch_runs import request

from birefnet_batch import RunSummary, Settings, run
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.progress import PlainProgress
from birefnet_batch.settings import EngineSettings, ExecutorName, ExecutorSettings

TESTS = Path(faults.__file__).parent


@dataclass
class OnRay:
    """Runs on the shared cluster with trivial engines and the faults that videos' names ask for."""

    cluster: Any
    faults: Path
    stream: StringIO = field(default_factory=StringIO)
    """What was shown."""
    outcomes: list[JobOutcome] = field(default_factory=list)
    """Of all runs."""

    def settings(self, output: Path, *, workers: int | None = 2, **changes: Any) -> Settings:
        """A run's settings; `executor` may change some of the executor's."""
        executor = ExecutorSettings(
            name=ExecutorName.ray,
            address=self.cluster.address,
            workers=workers,
            grace_s=5,
            runtime_env={
                "worker_process_setup_hook": "faults.install",
                "env_vars": {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", faults.FOLDER: str(self.faults)},
            },
        )
        executor = replace(executor, **changes.pop("executor", {}))
        return replace(Settings(), output=str(output), engine=EngineSettings(threads=1), executor=executor, **changes)

    def run(self, output: Path, *clips: Path, fields: dict[str, Any] | None = None, **changes: Any) -> RunSummary:
        """Run clips."""
        return run(
            self.settings(output, **changes),
            [request(clip, **(fields or {})) for clip in clips],
            progress=PlainProgress(len(clips), self.stream, interval_s=0),
            on_outcome=self.outcomes.append,
        )

    @property
    def lines(self) -> list[str]:
        """What was shown."""
        return self.stream.getvalue().splitlines()

    def worked(self, clip: Path) -> list[tuple[int, int]]:
        """(process, segment) of each time that a worker began a segment of the clip."""
        log = self.faults / f"{clip.stem}.log"
        return [tuple(map(int, line.split())) for line in log.read_text().splitlines()]  # type: ignore[misc]
