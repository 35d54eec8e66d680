"""run.json, and what becomes of the records of runs that were killed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.executors.base import RunContext
from birefnet_batch.result_lines import ManifestLine
from birefnet_batch.results import Outcome
from birefnet_batch.run_record import RunRecorder
from birefnet_batch.settings import Settings, StorageSettings
from birefnet_batch.storage import Output

OPTIONS = {"s3": {"key": "AKIAEXAMPLE", "secret": "hunter2hunter2", "endpoint_url": "http://h"}}


def record_one(folder: Path, run_id: str, job_id: str, status: Outcome = "failed") -> None:
    """The record of a run on this output that has one video."""
    settings = replace(Settings(), output=str(folder))
    with (
        Output(str(folder), run_id) as output,
        RunRecorder(RunContext(run_id, settings, output, {}), [], {}, 1, 0) as recorder,
    ):
        recorder.ended(ManifestLine(job_id, f"file:///{job_id}", status))


def test_nothing_secret_is_in_the_files_of_a_run(tmp_path: Path) -> None:
    settings = replace(Settings(), output=str(tmp_path), storage=StorageSettings(options=OPTIONS))
    command = ["birefnet-batch", "storage.options.s3.secret=hunter2hunter2", "request.video_url=https://u:pw@h/a?sig=s"]
    documents = {"overrides.yaml": "- storage.options.s3.secret=hunter2hunter2\n- x=AKIAEXAMPLE\n"}
    with Output(str(tmp_path), "run") as output:
        context = RunContext("run", settings, output, {})
        with RunRecorder(context, command, documents, 1, 0) as recorder:
            recorder.ended(ManifestLine("a", "file:///a", "failed", None, "no"), 3, 1.5)
    text = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for secret in ("hunter2", "AKIA", ":pw@", "sig=s"):
        assert secret not in text
    record = json.loads((tmp_path / "runs" / "run" / "run.json").read_text())
    assert record["settings"]["storage"]["options"]["s3"] == {"key": "***", "secret": "***", "endpoint_url": "http://h"}
    assert {"processor", "memory_bytes", "host"} <= record["machine"].keys()
    assert sorted(path.name for path in (tmp_path / "runs" / "run").iterdir()) == [
        *("manifest.jsonl", "overrides.yaml", "run.json")
    ]


def test_a_document_that_names_a_file_whose_name_is_not_utf8_is_kept(tmp_path: Path) -> None:
    settings = replace(Settings(), output=str(tmp_path))
    with (
        Output(str(tmp_path), "run") as output,
        RunRecorder(RunContext("run", settings, output, {}), ["x"], {"invalid.jsonl": "\udcff.yaml"}, 1, 0),
    ):
        pass
    assert (tmp_path / "runs" / "run" / "invalid.jsonl").read_text() == "?.yaml"


def test_a_run_says_where_it_was_begun_and_its_times_agree_with_their_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def slow() -> dict[str, Any]:
        nonlocal now
        now += 0.5
        return {}

    monkeypatch.chdir(tmp_path)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr("birefnet_batch.run_record.utc_now", lambda: (begun + timedelta(seconds=now)).isoformat())
    monkeypatch.setattr("birefnet_batch.run_record.time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr("birefnet_batch.run_record.machine", slow)
    settings = replace(Settings(), output="out")
    with (
        Output("out", "run") as output,
        RunRecorder(RunContext("run", settings, output, {}), ["birefnet-batch", "output=out"], {}, 1, 0),
    ):
        pass
    record = json.loads((tmp_path / "out" / "runs" / "run" / "run.json").read_text())
    assert Path(record["working_directory"]) / record["settings"]["output"] == tmp_path / "out"
    span = datetime.fromisoformat(record["finished"]) - datetime.fromisoformat(record["started"])
    assert record["timings"]["total"] == span.total_seconds() == 0.5


def test_the_next_run_takes_over_the_lines_of_one_that_died_and_says_that_it_died(tmp_path: Path) -> None:
    settings = replace(Settings(), output=str(tmp_path))
    with Output(str(tmp_path), "dead") as output:
        recorder = RunRecorder(RunContext("dead", settings, output, {}), [], {}, 2, 0)
        recorder.__enter__()
        recorder.ended(ManifestLine("a", "file:///a", "succeeded", "jobs/a/result.json", None))
    with (
        Output(str(tmp_path), "next") as output,
        RunRecorder(RunContext("next", settings, output, {}), [], {}, 1, 0) as second,
    ):
        second.ended(ManifestLine("b", "file:///b", "failed", None, "no"))
    assert json.loads((tmp_path / "runs" / "dead" / "run.json").read_text())["status"] == "died"
    assert json.loads((tmp_path / "runs" / "next" / "run.json").read_text())["status"] == "finished"
    assert [json.loads(text)["job_id"] for text in (tmp_path / "manifest.jsonl").read_text().splitlines()] == [
        *("a", "b")
    ]
    assert not list(tmp_path.rglob("running"))


@pytest.mark.parametrize(
    ("failure", "status"), [(OutputError("no space left on device"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_videos_of_a_run_that_could_not_write_the_manifest_over_all_are_in_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, status: str
) -> None:
    def broken(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch, pytest.raises(type(failure)):
        patch.setattr("birefnet_batch.run_record.merge_manifest", broken)
        record_one(tmp_path, "first", "a")
    record_one(tmp_path, "next", "b")
    record_one(tmp_path, "last", "c")
    assert [json.loads(text)["job_id"] for text in (tmp_path / "manifest.jsonl").read_text().splitlines()] == [
        *("a", "b", "c")
    ]
    assert json.loads((tmp_path / "runs" / "first" / "run.json").read_text())["status"] == status
    assert not list(tmp_path.rglob("running"))


def test_a_run_that_was_killed_once_it_had_said_how_it_ended_has_not_died(tmp_path: Path) -> None:
    record_one(tmp_path, "first", "a")
    (tmp_path / "runs" / "first" / "running").touch()
    record_one(tmp_path, "next", "b")
    assert json.loads((tmp_path / "runs" / "first" / "run.json").read_text())["status"] == "finished"
    assert not list(tmp_path.rglob("running"))


def test_a_record_that_cannot_be_read_to_count_what_was_used_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unanswered(*_: object) -> None:
        raise OutputError("jobs/a/job.json cannot be read: the storage cannot be reached")

    monkeypatch.setattr("birefnet_batch.run_record.read_record", unanswered)
    record_one(tmp_path, "run", "a", "succeeded")
    assert json.loads((tmp_path / "runs" / "run" / "run.json").read_text())["counts"]["succeeded"] == 1
    assert "does not count under `used` what made a: jobs/a/job.json cannot be read" in caplog.text


def test_a_run_that_another_took_the_output_from_ends_with_its_next_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(output: Output) -> None:
        raise OutputError("it was taken over by another run")

    with Output(str(tmp_path), "run") as output:
        recorder = RunRecorder(RunContext("run", replace(Settings(), output=str(tmp_path)), output, {}), [], {}, 1, 0)
        recorder.__enter__()
        monkeypatch.setattr(Output, "check", lost)
        with pytest.raises(OutputError, match="taken over by another run"):
            recorder.ended(ManifestLine("a", "file:///a", "succeeded", None, None))
