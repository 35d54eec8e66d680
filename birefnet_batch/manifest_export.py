"""The manifest of an output as a table for other programs: Parquet or CSV, a row per video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.output_files import FAILED, MANIFEST, RUN, RUNNING, RUNS
from birefnet_batch.refusals import named_reason, one_line
from birefnet_batch.result_lines import damaged_lines, merged_lines, run_lines
from birefnet_batch.results import READ_AT_ONCE, JobRecord, read_record
from birefnet_batch.status import no_runs
from birefnet_batch.storage.stores import Store

_TEXT = (
    *("job_id", "input", "status", "error", "model", "network", "weights_sha256", "engine", "precision"),
    *("output_type", "source_sha256", "video", "video_sha256", "mask_video", "mask_video_sha256", "result"),
    *("started", "finished", "run_id", "package_version"),
)
_WHOLE = ("width", "height", "frames", "source_bytes", "segments", "attempts", "batch_size", "threads")
_REAL = ("duration_s", "seconds")
_SHOWN_LINES = 5


def export_manifest(store: Store, destination: Path) -> int:
    """Write a row per video of the output: what was asked for, used and done.

    Args:
        store: the output.
        destination: a local file that ends in .parquet or .csv.

    Returns:
        How many rows it has.

    Raises:
        ConfigError: pyarrow is missing, the name ends otherwise, or no run has written there.
        OutputError: the manifest is damaged, or the file cannot be written.
    """
    suffix = destination.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--manifest={destination} must end in .parquet or .csv")
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError as error:
        raise ConfigError(
            f"Parquet and CSV need pyarrow, which cannot be imported ({error}); "
            "install it: pip install 'birefnet-batch[parquet]'"
        ) from None
    # Whoever tidied the folders of old runs away still has the manifest over all of them.
    if not store.folders_with(RUNS, RUN) and store.get(MANIFEST) is None:
        raise no_runs(store)
    schema = pa.schema(
        [
            *(pa.field(name, pa.string()) for name in _TEXT),
            *(pa.field(name, pa.int64()) for name in _WHOLE),
            *(pa.field(name, pa.float64()) for name in _REAL),
        ]
    )
    try:
        table = pa.Table.from_pylist(list(rows(store)), schema=schema)
    except pa.ArrowException as error:
        reason = one_line(error)
        raise _damaged(store, reason) from None
    temporary = destination.with_name(f"{destination.name}.part")
    try:
        if suffix == ".csv":
            csv.write_csv(table, temporary)
        else:
            parquet.write_table(table, temporary)
        temporary.replace(destination)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{destination} cannot be written: {named_reason(error)}") from None
    return int(table.num_rows)


def rows(store: Store) -> Iterator[dict[str, Any]]:
    """A row per video that ended, with what the job's record adds.

    Of a run that goes on, or was killed, the videos are in its own folder alone, where a line may be half written.

    Raises:
        OutputError: the manifest is damaged: it is written whole, so that a line that cannot be read is a lost video.
    """
    manifest = store.get(MANIFEST) or b""
    if damaged := damaged_lines(manifest):
        shown = ", ".join(map(str, damaged[:_SHOWN_LINES])) + (", ..." if len(damaged) > _SHOWN_LINES else "")
        what = f"line {shown} names" if len(damaged) == 1 else f"{len(damaged)} lines ({shown}) name"
        raise _damaged(store, f"{what} no video")
    unfinished = store.folders_with(RUNS, RUNNING)
    live = [line for run_id in unfinished for line in run_lines(store, run_id)]
    lines = merged_lines(manifest, live)
    with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="records") as pool:
        yield from pool.map(partial(_row, store), lines.keys(), lines.values())


def _damaged(store: Store, reason: str) -> OutputError:
    return OutputError(f"The manifest of {store.shown} is damaged: {reason}; run the videos again to mend it")


def _row(store: Store, job_id: str, text: str) -> dict[str, Any]:
    line = json.loads(text)
    row = {name: line.get(name) for name in ("job_id", "input", "status", "error", "result")}
    record = read_record(store, job_id, FAILED) if row["status"] == "failed" else None
    record = record or read_record(store, job_id)
    return row if record is None else {**row, **_facts(record)}


def _facts(record: JobRecord) -> dict[str, Any]:
    engine = record.engine or {}
    return {
        "model": record.request.get("model"),
        "network": record.model.network if record.model else None,
        "weights_sha256": record.model.weights_sha256 if record.model else None,
        "engine": engine.get("family"),
        "precision": engine.get("precision"),
        "output_type": record.request.get("video_output_type"),
        "source_sha256": record.source.sha256,
        "video": record.outputs.get("video"),
        "video_sha256": record.outputs_sha256.get("video"),
        "mask_video": record.outputs.get("mask_video"),
        "mask_video_sha256": record.outputs_sha256.get("mask_video"),
        "started": record.started,
        "finished": record.finished,
        "run_id": record.run_id,
        "package_version": record.versions.get("birefnet-batch"),
        "width": record.source.width,
        "height": record.source.height,
        "frames": record.source.frames,
        "source_bytes": record.source.size,
        "segments": record.segments,
        "attempts": record.attempts,
        "batch_size": _whole(engine.get("batch_size")),
        "threads": _whole(engine.get("threads")),
        "duration_s": record.source.duration,
        "seconds": record.timings.get("total"),
    }


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
