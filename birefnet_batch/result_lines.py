"""manifest.jsonl: a line per video, of one run as its videos end, and merged over all runs of an output."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from pydantic import TypeAdapter

from birefnet_batch.output_files import MANIFEST, run_file
from birefnet_batch.results import Outcome
from birefnet_batch.storage import Output
from birefnet_batch.storage.stores import Store


@dataclass(frozen=True)
class ManifestLine:
    """One line of manifest.jsonl: what became of one video."""

    job_id: str
    input: str
    """The source's URI without credentials."""
    status: Outcome
    result: str | None = None
    """result.json relative to the output root."""
    error: str | None = None

    def to_json(self) -> str:
        """The line, without its end."""
        return json.dumps(vars(self), ensure_ascii=False)


@dataclass(frozen=True)
class RunLine(ManifestLine):
    """One line of a run's own manifest.jsonl, with what the video took."""

    frames: int = 0
    seconds: float = 0.0
    finished: str = ""
    """UTC, ISO 8601."""


_RUN_LINES: TypeAdapter[RunLine] = TypeAdapter(RunLine)


def merge_manifest(output: Output, lines: Iterable[ManifestLine]) -> None:
    """Write manifest.jsonl: this run's lines, and those of earlier runs for videos that this one does not name."""
    merged = merged_lines(output.read(MANIFEST) or b"", lines)
    output.write(MANIFEST, "".join(f"{text}\n" for text in merged.values()).encode("utf-8", "replace"))


def merged_lines(manifest: bytes, lines: Iterable[ManifestLine]) -> dict[str, str]:
    """The lines of a manifest.jsonl by job, and in their place later ones of the same jobs.

    A video that was skipped because it is complete keeps the status of the run that completed it.
    """
    merged: dict[str, str] = {}
    for text in manifest.decode("utf-8", "replace").split("\n"):
        job_id = _job_of(text)
        if job_id is not None:
            merged[job_id] = text
    for line in lines:
        status = "succeeded" if line.status == "skipped" else line.status
        merged[line.job_id] = ManifestLine(line.job_id, line.input, status, line.result, line.error).to_json()
    return merged


def damaged_lines(manifest: bytes) -> list[int]:
    """Which lines of a manifest.jsonl, counted from 1, are of no video; empty ones say nothing and are not damaged."""
    texts = manifest.decode("utf-8", "replace").split("\n")
    return [number for number, text in enumerate(texts, 1) if text.strip() and _job_of(text) is None]


def _job_of(text: str) -> str | None:
    try:
        return str(json.loads(text)["job_id"])
    except (ValueError, KeyError, TypeError):
        return None


def manifest_lines(content: bytes) -> list[RunLine]:
    """The lines of a manifest.jsonl; one that is being written or damaged is left out."""
    lines = []
    for text in content.decode("utf-8", "replace").split("\n"):
        with suppress(ValueError):
            lines.append(_RUN_LINES.validate_json(text))
    return lines


def run_lines(store: Store, run_id: str) -> list[RunLine]:
    """The videos of a run that ended so far, in that order.

    Raises:
        OutputError: the output cannot be read.
    """
    return manifest_lines(store.get(run_file(run_id, MANIFEST)) or b"")
