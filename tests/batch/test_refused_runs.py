"""A run that cannot be right stops before it starts, or leaves out what is wrong where it is told to."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_runs import request, run_all, settings

from birefnet_batch import BirefnetBatchError, ConfigError, Request, RequestError, Settings, process_video, run
from birefnet_batch.errors import ProblemsError
from birefnet_batch.models import demo
from birefnet_batch.settings import EngineSettings, MediaSettings, OnInvalid
from birefnet_batch.storage import backoff

SHIPPED_DEMO = Path(demo.__file__).parent / "demo.safetensors"


def test_media_settings_that_no_type_of_the_run_can_have_stop_it_before_it_starts(clip: Path, output: Path) -> None:
    several = [request(clip), request(clip, video_output_type="GIF (.gif)")]
    with pytest.raises(ConfigError) as caught:
        run_all(output, *several, media=MediaSettings(background="none", hardware="require"))
    message = str(caught.value)
    assert "media.background=none needs an output type with an alpha channel" in message
    assert "VP9 (.webm)" in message
    assert "no hardware encoder writes GIF (.gif)" in message
    assert not output.exists()


def test_where_bad_entries_are_skipped_a_type_that_does_not_fit_costs_its_video_alone(clip: Path, output: Path) -> None:
    several = [request(clip), request(clip, video_output_type="GIF (.gif)")]
    media = MediaSettings(background="none")
    summary, _ = run_all(output, *several, media=media, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert "media.background=none needs an output type with an alpha channel" in summary.failures[0][1]


def test_an_empty_run_and_a_run_without_output_are_refused(clip: Path, output: Path) -> None:
    with pytest.raises(BirefnetBatchError, match="nothing to do"):
        run(settings(output), [])
    with pytest.raises(BirefnetBatchError, match="output=FOLDER"):
        run(Settings(), [request(clip)])
    assert not output.exists()


def test_on_windows_a_script_is_told_where_it_runs(clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ConfigError, match="runs on Linux and macOS, not on Windows itself"):
        run(settings(output), [request(clip)])
    monkeypatch.undo()
    assert not output.exists()


def test_without_a_folder_for_temporary_files_it_says_once_to_set_one(
    clip: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(ConfigError, match="no usable temporary directory .*; set TMPDIR to a folder that can be writ"):
        run_all(output, request(clip))
    assert not output.exists()


def test_a_shared_engine_store_that_cannot_be_one_is_no_fault_of_the_videos(clip: Path, output: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.shared_store=foo://x cannot be used: no readable URL"):
        run_all(output, request(clip), engine=EngineSettings(shared_store="foo://x"))
    assert not output.exists()


@pytest.mark.usefixtures("trivial_engine")
def test_requests_that_differ_in_secrets_alone_stop_the_run_or_are_left_out_on_record(
    clip: Path, output: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)
    urls = [f"http://{who}127.0.0.1:9/a.mp4" for who in ("me:pass@", "")]
    requests = [request(clip), *(replace(request(Path("x")), video_url=url) for url in (*urls, "http://[::1/b.mp4"))]
    with pytest.raises(ProblemsError, match="in nothing but its user name, password, signature or token") as caught:
        run_all(output, *requests)
    assert "http://[::1/b.mp4 is no URL that can be read" in str(caught.value)
    assert not output.exists()
    summary, outcomes = run_all(output, *requests, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed, summary.invalid, summary.ok) == (1, 1, 2, False)
    assert outcomes[0].job.uri.startswith("http://me:pass@") or outcomes[1].job.uri.startswith("http://me:pass@")
    (folder,) = (output / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["counts"]["invalid_entries"] == 2
    recorded = (folder / "invalid_entries.jsonl").read_text()
    assert "give each video another URL" in recorded
    assert len(recorded.splitlines()) == 2
    assert "pass@" not in caplog.text + recorded


@pytest.mark.usefixtures("trivial_engine")
def test_wrong_arguments_of_calls_are_told_all_at_once_or_left_out_on_record(clip: Path, output: Path) -> None:
    good = request(clip).to_dict()
    wrong = [{**good, "video_url": "http://me:pass@h/a.mp4", "model": "cat", "output_mask": 3}, {"video": "b.mp4"}, 7]
    requests: list[Any] = [good, *wrong, {**good, "video_url": "http://[::1/c.mp4"}]
    with pytest.raises(ProblemsError) as caught:
        run_all(output, *requests)
    starts = [
        "requests[1] for http://h/a.mp4: model: 'cat' is not allowed",
        "requests[1] for http://h/a.mp4: output_mask: 3 is not allowed",
        "requests[2]: 'video' is no field",
        "requests[2]: video_url: it is required",
        "requests[3]: 7 is no mapping of fields",
        "requests[4]: http://[::1/c.mp4 is no URL that can be read",
    ]
    told = caught.value.problems
    assert [problem[: len(start)] for problem, start in zip(told, starts, strict=True)] == starts
    assert not output.exists()
    with pytest.raises(RequestError, match="The request has problems:\n  - 'video' is no field"):
        run_all(output, *requests[:1], requests[2])
    summary, _ = run_all(output, *requests, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed, summary.invalid, summary.ok) == (1, 0, 4, False)
    (folder,) = (output / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["counts"]["invalid_entries"] == 4
    entries = [json.loads(line) for line in (folder / "invalid_entries.jsonl").read_text().splitlines()]
    assert [f"{entry['place']}: {reason}" for entry in entries for reason in entry["reasons"]] == list(told)


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.parametrize("order", [1, -1])
def test_a_model_that_the_settings_do_not_have_is_a_wrong_request_wherever_it_stands(
    clip: Path, output: Path, order: int
) -> None:
    own = Settings(models={"studio": {"name": "Studio", "network": "demo", "weights": str(SHIPPED_DEMO)}})
    foreign = Request.from_dict({"video_url": str(clip), "model": "studio"}, own.catalogue)
    message = f"The request for {clip} has problems:\n  - model: 'Studio' is none of the models of the settings: "
    with pytest.raises(RequestError) as caught:
        process_video(foreign, output=output)
    assert str(caught.value).startswith(message)
    assert "'Demo'; a model of your own needs settings=Settings(models=...)" in str(caught.value)
    mixed = [request(clip), foreign][::order]
    with pytest.raises(RequestError, match="'Studio' is none of the models"):
        run_all(output, *mixed)
    assert not output.exists()
    summary, _ = run_all(output, *mixed, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed, summary.invalid) == (1, 0, 1)
    assert process_video(foreign, output=output, settings=own).video.num_frames == 7
