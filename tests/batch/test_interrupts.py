"""An interrupted run leaves what is finished whole, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batch_runs import Quiet, job_folder, request, run_all, settings
from clips import make_clip, read_frames

from birefnet_batch import Request, run
from birefnet_batch.errors import OutputError, OutputLostError
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.jobs import Job
from birefnet_batch.storage.lease import Lease


@pytest.mark.usefixtures("trivial_engine")
def test_an_interrupt_leaves_finished_videos_whole_and_no_partial_file(
    clip: Path, output: Path, tmp_path: Path
) -> None:
    second = make_clip(tmp_path / "second.mp4", frames=40)

    class Impatient(Quiet):
        def frames(self, count: int) -> None:
            super().frames(count)
            if self.done and self.frame_count > 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(settings(output), [request(clip), request(second)], progress=Impatient())
    assert not list((output / "jobs").glob("second-*"))
    assert not (output / ".scratch").exists()
    assert len(read_frames(job_folder(output) / "clip.mp4").times) == 7
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 1
    (run_folder,) = (output / "runs").iterdir()
    assert json.loads((run_folder / "run.json").read_text())["status"] == "interrupted"
    summary, _ = run_all(output, request(clip), request(second))
    assert (summary.skipped, summary.succeeded) == (1, 1)
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 2


def test_an_interrupt_while_a_video_is_told_of_lets_the_executor_end_what_it_does(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def drains(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        first, second, _ = jobs
        try:
            yield JobOutcome(first, "failed", error="no")
        except KeyboardInterrupt:
            yield JobOutcome(second, "failed", error="no")
            raise

    def interrupted(outcome: JobOutcome) -> None:
        told.append(outcome.job.stem)
        if len(told) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=drains))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b", "c")]
    with pytest.raises(KeyboardInterrupt):
        run(settings(output), requests, progress=Quiet(), on_outcome=interrupted)
    assert told == ["a", "b"]
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 2


def test_an_exception_while_a_video_is_told_of_ends_the_executors_work_before_the_output_is_given_back(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def working(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        try:
            for job in jobs:
                yield JobOutcome(job, "failed", error="no")
        finally:
            seen.append(bool(list(output.glob(".lease/*.json"))))

    def mistaken(_: JobOutcome) -> None:
        raise ValueError("a caller's mistake")

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=working))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b")]
    with pytest.raises(ValueError, match="a caller's mistake") as held:
        run(settings(output), requests, progress=Quiet(), on_outcome=mistaken)
    assert seen == [True], f"while somebody still has {held.value!r}"


def test_a_run_whose_output_was_taken_over_ends_with_the_video_at_hand(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def working(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        for job in jobs:
            begun.append(job.stem)
            yield JobOutcome(job, "failed", error="no")

    def lost(_: Lease) -> None:
        raise OutputError("it was taken over by another run")

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=working))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b", "c")]
    with pytest.raises(OutputLostError, match="taken over by another run"):
        run(
            settings(output),
            requests,
            progress=Quiet(),
            on_outcome=lambda _: monkeypatch.setattr(Lease, "check", lost),
        )
    assert begun == ["a", "b"]
