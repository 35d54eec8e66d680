"""Runs of the shipped model for tests: small requests, and what they leave."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet_batch import Request, RunSummary, Settings, run
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.progress import Progress


class Quiet(Progress):
    """Shows nothing."""

    def __init__(self) -> None:
        super().__init__(1, open(os.devnull, "w"))  # noqa: PTH123, SIM115

    def show_frames(self) -> None: ...

    def show_ended(self, line: str) -> None: ...


def request(path: Path, **fields: Any) -> Request:
    return Request.from_dict(
        {"video_url": str(path), "model": "demo", "operating_resolution": 256, "video_write_mode": "fast", **fields}
    )


def settings(output: Path, **changes: Any) -> Settings:
    return replace(Settings(), output=str(output), **changes)


def run_all(output: Path, *requests: Request, **changes: Any) -> tuple[RunSummary, list[JobOutcome]]:
    outcomes: list[JobOutcome] = []
    summary = run(settings(output, **changes), requests, progress=Quiet(), on_outcome=outcomes.append)
    return summary, outcomes


def job_folder(output: Path, stem: str = "clip") -> Path:
    (folder,) = (output / "jobs").glob(f"{stem}-*")
    return folder


def files_of(output: Path) -> list[str]:
    return sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
