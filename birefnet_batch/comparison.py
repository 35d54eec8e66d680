"""What the jobs of a sweep made of the same videos, side by side."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from birefnet_batch.console import table_console
from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.media_difference import compare_media
from birefnet_batch.recorded_media import bring_media
from birefnet_batch.result_lines import run_lines
from birefnet_batch.results import OF_EARLIER_RUN, JobRecord, read_record, read_result
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.stores import Store, open_store

FILE = "comparison.csv"


@dataclass(frozen=True)
class Row:
    """One video of one job of a sweep."""

    input: str
    job: str
    """What of the command line was its own."""
    model: str
    resolution: str
    output_type: str
    quality: str
    engine: str
    """Family and precision."""
    frames: int
    frames_per_s: float | None
    """From start to finish, source and encoder included; None where an earlier run had begun the video."""
    matte_ms: float
    """Of the network, a frame."""
    megabytes: float | None
    """Of the cut-out."""
    matte_difference: float | None = None
    """Mean absolute difference of the mask to that of the first job of the same video, in [0, 1]."""


def compare_runs(runs: Sequence[tuple[str, str, str]], storage: StorageSettings) -> list[Row]:
    """Read what each run did, videos that were complete already included.

    A difference that cannot be had, because a mask is gone or there is no space for it, is left out.

    Args:
        runs: (output, run id, what of the command line was its own) of each job of the sweep, in order.
        storage: how outputs are reached.

    Raises:
        OutputError: an output cannot be read.
    """
    rows: list[Row] = []
    first: dict[str, tuple[Store, JobRecord]] = {}
    for location, run_id, job in runs:
        store = open_store(location, storage)
        for record in _records(store, run_id):
            row = _row(store, record, job)
            if "mask_video" in record.outputs_sha256:
                base = first.setdefault(record.source.uri, (store, record))
                row = replace(row, matte_difference=_matte_difference(base, (store, record), storage))
            rows.append(row)
    return sorted(rows, key=lambda row: row.input)


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for item in fields(Row):
        table.add_column(item.name.replace("_", " "), justify="left" if item.type == "str" else "right")
    for row in rows:
        table.add_row(*("-" if value is None else escape(f"{value}") for value in asdict(row).values()))
    table_console().print(table)


def as_csv(rows: Sequence[Row]) -> bytes:
    """The rows as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _records(store: Store, run_id: str) -> Iterator[JobRecord]:
    for line in run_lines(store, run_id):
        # The record of a video that failed may be that of an earlier run's result.
        if line.status == "failed":
            continue
        record = read_record(store, line.job_id)
        if record is not None and record.status == "succeeded":
            yield record


def _row(store: Store, record: JobRecord, job: str) -> Row:
    frames, seconds = record.source.frames or 0, record.timings.get("total", 0.0)
    engine = record.engine or {}
    whole = not any(OF_EARLIER_RUN in note for note in record.notes)
    return Row(
        input=record.source.uri,
        job=job,
        model=str(record.request.get("model")),
        resolution=str(record.request.get("operating_resolution")),
        output_type=str(record.request.get("video_output_type")),
        quality=str(record.request.get("video_quality")),
        engine=f"{engine.get('family')} {engine.get('precision')}",
        frames=frames,
        frames_per_s=(round(frames / seconds, 2) if seconds else 0.0) if whole else None,
        matte_ms=round(1000 * record.timings.get("matte", 0.0) / frames, 1) if frames else 0.0,
        megabytes=_megabytes(store, record),
    )


def _megabytes(store: Store, record: JobRecord) -> float | None:
    """As the result says: the file itself may be in a bucket, and larger than memory."""
    # Of media that were asked for inline there is no file.
    if "video" not in record.outputs:
        return None
    result = read_result(store, record.job_id)
    return None if result is None else round(result.video.file_size / 1e6, 3)


def _matte_difference(
    first: tuple[Store, JobRecord], second: tuple[Store, JobRecord], storage: StorageSettings
) -> float | None:
    if first[1].outputs_sha256["mask_video"] == second[1].outputs_sha256["mask_video"]:
        return 0.0
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / "first", Path(folder) / "second"]
            for (store, record), path in zip((first, second), paths, strict=True):
                bring_media(store, storage, record, "mask_video", path)
            difference = compare_media(paths[0], paths[1])
    except (BirefnetBatchError, OSError):
        # For want of space, perhaps: the table is worth having without this figure.
        return None
    return None if difference.reason else round(difference.mean_error, 5)
