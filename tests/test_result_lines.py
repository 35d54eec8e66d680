"""Lines of the manifest: merged over runs, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.result_lines import ManifestLine, manifest_lines, merge_manifest
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
