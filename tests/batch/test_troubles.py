"""Dead decoders, defects, full disks and folders in the way."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_runs import Quiet, job_folder, request, run_all, settings
from clips import make_clip, make_noise

from birefnet_batch import BirefnetBatchError, NoWorkerError, OutputLostError, process_video, run
from birefnet_batch.executors.base import JobOutcome


@pytest.mark.usefixtures("trivial_engine")
def test_a_decoder_that_dies_is_replaced_and_the_video_tried_again(
    clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.errors import DecoderCrashError
    from birefnet_batch.executors import prepare

    probe, calls = prepare.probe, []

    def crashing(path: Path, *bounds: float) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise DecoderCrashError("the decoder died")
        return probe(path, *bounds)

    monkeypatch.setattr(prepare, "probe", crashing)
    summary, _ = run_all(output, request(clip))
    assert summary.ok
    assert json.loads((job_folder(output) / "job.json").read_text())["attempts"] == 2


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.logs_errors
def test_a_defect_costs_its_video_only_and_says_that_it_is_one(
    clip: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.executors import prepare

    plan = prepare.plan_segments
    monkeypatch.setattr(
        prepare, "plan_segments", lambda path, info, *rest: plan(path, info, *rest) if info.frames == 7 else 1 / 0
    )
    other = make_clip(tmp_path / "other.mp4", frames=3)
    summary, outcomes = run_all(output, request(other), request(clip))
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    assert "unexpected ZeroDivisionError" in summary.failures[0][1]


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.logs_errors
def test_a_gpu_that_has_failed_for_good_ends_the_run_and_costs_one_video(
    clip: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.executors import prepare

    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")

    plan = prepare.plan_segments
    monkeypatch.setattr(
        prepare, "plan_segments", lambda path, info, *rest: plan(path, info, *rest) if info.frames == 7 else broken()
    )
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    bad = make_clip(tmp_path / "bad.mp4", frames=3)
    with pytest.raises(NoWorkerError, match="illegal memory access .*; 1 of 2 videos are left"):
        run_all(output, request(bad), request(clip))
    monkeypatch.undo()
    summary, outcomes = run_all(output, request(bad), request(clip))
    assert summary.ok
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded"]


@pytest.mark.usefixtures("trivial_engine")
def test_a_full_disk_is_one_clear_error_and_leaves_no_partial_file(
    clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BirefnetBatchError, match="no space left on device"):
        process_video(request(clip), output=output)
    monkeypatch.undo()
    assert not list(output.glob("jobs/*/*.mp4"))
    shutil.rmtree(output)
    assert process_video(request(clip), output=output).video.num_frames == 7


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.parametrize(
    ("most", "refused"),
    [
        (20_000, r"the memory of \d+ bytes for frames of .*/noise\.mp4 cannot be used"),
        (600_000, r".*/video-00000\.part cannot be written"),
    ],
)
def test_a_limit_of_file_sizes_is_named_with_the_file_and_what_to_do(
    tmp_path: Path, output: Path, most: int, refused: str
) -> None:
    make_noise(tmp_path / "noise.mp4", 80)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        summary, _ = run_all(output, request(tmp_path / "noise.mp4", video_quality="maximum"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ((_, reason),) = summary.failures
    assert re.match(f"{refused}: file too large; raise the limit of file sizes \\(ulimit -f\\), or choose", reason)
    assert "rights" not in reason


@pytest.mark.usefixtures("trivial_engine")
def test_a_job_folder_that_cannot_be_used_is_one_clear_error(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    folder = job_folder(output)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    other = make_clip(clip.with_name("other.mp4"), frames=3)
    summary, outcomes = run_all(output, request(clip), request(other))
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    assert "cannot be" in summary.failures[0][1]
    assert "not a directory" in summary.failures[0][1]
    assert "report it" not in summary.failures[0][1]


@pytest.mark.usefixtures("trivial_engine")
def test_an_output_that_takes_no_files_of_jobs_any_more_ends_the_run_and_costs_no_video(
    clip: Path, output: Path
) -> None:
    requests = [request(make_clip(clip.with_name(f"{name}.mp4"), frames=3)) for name in "abc"]
    told: list[str] = []

    def taken_away(outcome: JobOutcome) -> None:
        told.append(outcome.status)
        if len(told) == 1:
            (output / "jobs").rename(output / "elsewhere")
            (output / "jobs").write_text("in the way")

    with pytest.raises(OutputLostError, match="Nothing can be written in .*/out/jobs any more: .*goes on with"):
        run(settings(output), requests, progress=Quiet(), on_outcome=taken_away)
    assert told == ["succeeded"]
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 1
    (output / "jobs").unlink()
    (output / "elsewhere").rename(output / "jobs")
    summary, _ = run_all(output, *requests)
    assert (summary.skipped, summary.succeeded) == (1, 2)
