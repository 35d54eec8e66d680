"""Records: written and read back, merged over runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.result_lines import ManifestLine, manifest_lines, merge_manifest
from birefnet_batch.results import ErrorRecord, JobRecord, SourceRecord, read_record
from birefnet_batch.storage import Output


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with Output(str(tmp_path), "run") as made:
        yield made


def line(job_id: str, status: Any = "succeeded", error: str | None = None) -> ManifestLine:
    return ManifestLine(job_id, f"file:///{job_id}.mp4", status, None if error else "r", error)


def lines(output: Output) -> dict[str, Any]:
    content = (output.read("manifest.jsonl") or b"").decode()
    return {entry["job_id"]: entry for entry in map(json.loads, content.split("\n")[:-1])}


def test_a_record_is_read_back_as_it_was_written() -> None:
    record = JobRecord(
        job_id="a",
        status="failed",
        request={"video_url": "ü\n\ud800.mp4"},
        source=SourceRecord("file:///a", size=3),
        error=ErrorRecord("InputError", "no"),
        timings={"total": 1.5},
    )
    read = JobRecord.from_json(record.to_json())
    assert read.error == record.error
    assert read.timings == record.timings
    with pytest.raises(ValueError, match="status"):
        JobRecord.from_json(record.to_json().replace(b'"failed"', b'"perhaps"'))


def test_a_record_of_another_schema_version_is_not_taken_for_one_of_ours(output: Output) -> None:
    record = JobRecord(job_id="a", status="failed", request={}, source=SourceRecord("file:///a"))
    later = record.to_json().replace(b'"schema_version": 1', b'"schema_version": 99')
    with pytest.raises(ValueError, match="schema_version"):
        JobRecord.from_json(later)
    output.write("jobs/a/job.json", later)
    assert read_record(output.store, "a") is None


def test_the_manifest_keeps_videos_of_earlier_runs_and_renews_those_of_this_one(output: Output) -> None:
    merge_manifest(output, [line("a"), line("b", "failed", "broken")])
    merge_manifest(output, [line("b"), line("c")])
    assert {name: entry["status"] for name, entry in lines(output).items()} == {
        "a": "succeeded",
        "b": "succeeded",
        "c": "succeeded",
    }
    assert lines(output)["b"]["error"] is None


def test_a_skipped_video_is_one_that_succeeded_before(output: Output) -> None:
    merge_manifest(output, [line("a", "skipped")])
    assert lines(output)["a"]["status"] == "succeeded"


def test_a_line_is_what_a_line_feed_ends_whatever_its_texts_hold(output: Output) -> None:
    odd = "a\u2028b\x85c"
    merge_manifest(output, [line("a", "failed", odd)])
    merge_manifest(output, [line("b")])
    assert lines(output)["a"]["error"] == odd
    assert [read.error for read in manifest_lines(output.read("manifest.jsonl") or b"")] == [odd, None]


def test_a_damaged_line_costs_no_other(output: Output) -> None:
    output.write("manifest.jsonl", b'{"job_id": "a", "status": "succeeded"}\n{oops\n[]\n')
    merge_manifest(output, [line("b")])
    assert set(lines(output)) == {"a", "b"}
