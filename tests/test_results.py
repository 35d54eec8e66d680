"""Records: written and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from birefnet_batch.results import ErrorRecord, JobRecord, SourceRecord, read_record
from birefnet_batch.storage import Output


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    with Output(str(tmp_path), "run") as made:
        yield made


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
