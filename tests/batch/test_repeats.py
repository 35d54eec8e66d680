"""What is complete is not done again, what changed is, and a repetition that fails takes nothing away."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from batch_runs import files_of, job_folder, request, run_all
from clips import make_clip
from safetensors.torch import load_file, save_file

from birefnet_batch import ConfigError, process_video
from birefnet_batch.models import demo
from birefnet_batch.schemas import job_schema
from birefnet_batch.settings import MediaSettings, Resume


def test_complete_jobs_are_skipped_and_left_untouched(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    before = {name: (output / name).stat().st_mtime_ns for name in files_of(output) if name.startswith("jobs/")}
    summary, outcomes = run_all(output, request(clip))
    assert (summary.skipped, summary.succeeded, summary.ok) == (1, 0, True)
    assert outcomes[0].result_path is not None
    after = {name: (output / name).stat().st_mtime_ns for name in files_of(output) if name.startswith("jobs/")}
    assert after == before
    assert json.loads((output / "manifest.jsonl").read_text())["status"] == "succeeded"
    assert process_video(request(clip), output=output).video.num_frames == 7
    with pytest.raises(ConfigError, match="has 1 jobs of earlier runs, and resume=never; give another output"):
        run_all(output, request(clip), resume=Resume.never)


def test_the_same_key_gives_the_same_bytes(clip: Path, output: Path) -> None:
    run_all(output, request(clip, output_mask=True))
    folder = job_folder(output)
    first = {path.name: path.read_bytes() for path in folder.glob("*.mp4")}
    summary, _ = run_all(output, request(clip, output_mask=True), resume=Resume.force)
    assert summary.succeeded == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.mp4")} == first
    assert len(first) == 2


@pytest.mark.parametrize("change", ["source", "settings", "weights"])
def test_a_changed_source_setting_or_checkpoint_is_done_again(
    clip: Path, output: Path, tmp_path: Path, change: str
) -> None:
    run_all(output, request(clip))
    (old,) = job_folder(output).glob("complete-*")
    media = MediaSettings(background="white" if change == "settings" else "black")
    if change == "source":
        make_clip(clip, frames=5)
    if change == "weights":
        shipped = Path(demo.__file__).parent / "demo.safetensors"
        tensors = load_file(shipped)
        next(tensor for tensor in tensors.values() if tensor.is_floating_point()).add_(0.001)
        save_file(tensors, tmp_path / "other.safetensors")
    weights = {"demo": str(tmp_path / "other.safetensors")} if change == "weights" else {}
    summary, _ = run_all(output, request(clip), media=media, weights=weights)
    assert summary.succeeded == 1
    (new,) = job_folder(output).glob("complete-*")
    assert new.name != old.name
    assert json.loads((job_folder(output) / "job.json").read_text())["source"]["frames"] == (
        5 if change == "source" else 7
    )


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.parametrize("name", ["clip.mp4", "result.json", "job.json"])
def test_a_complete_job_that_lost_a_file_is_done_again(clip: Path, output: Path, name: str) -> None:
    run_all(output, request(clip))
    (job_folder(output) / name).unlink()
    assert run_all(output, request(clip))[0].succeeded == 1
    assert (job_folder(output) / name).exists()


def test_a_repetition_that_fails_keeps_the_result_and_is_told_of_until_one_succeeds(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    content, result = clip.read_bytes(), (job_folder(output) / "clip.mp4").read_bytes()
    clip.unlink()
    assert run_all(output, request(clip))[0].failed == 1
    clip.write_bytes(content[: len(content) // 3])
    assert run_all(output, request(clip))[0].failed == 1
    assert (job_folder(output) / "clip.mp4").read_bytes() == result
    failed = json.loads((job_folder(output) / "failed.json").read_text())
    jsonschema.validate(failed, job_schema())
    assert "clip.mp4" in failed["error"]["message"]
    (line,) = (output / "manifest.jsonl").read_text().splitlines()
    assert (json.loads(line)["status"], json.loads(line)["result"]) == ("failed", None)
    stays = f"; the complete result of an earlier run stays in {job_folder(output).as_uri()}"
    assert json.loads(line)["error"].endswith(stays)
    clip.write_bytes(content)
    assert run_all(output, request(clip), resume=Resume.force)[0].succeeded == 1
    assert not (job_folder(output) / "failed.json").exists()


@pytest.mark.usefixtures("trivial_engine")
def test_the_same_video_asked_for_twice_runs_once(clip: Path, output: Path) -> None:
    _, outcomes = run_all(output, request(clip), request(clip.parent / "x" / ".." / clip.name))
    assert len(outcomes) == 1
