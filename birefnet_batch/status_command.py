"""`birefnet-batch-status OUTPUT`: how a run stands, as a table or as JSON; the manifest as Parquet or CSV."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from birefnet_batch.console import table_console
from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.exit_status import INTERRUPTED, OK, WRONG_USE, while_read
from birefnet_batch.option_values import given
from birefnet_batch.standard_streams import mend_streams
from birefnet_batch.status import RunStatus, read_status
from birefnet_batch.storage.stores import open_store
from birefnet_batch.storage_words import add_storage_words, storage_from_words

_SHOWN_FAILURES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the state; 0 when it could be read, 2 when not, 130 when interrupted."""
    mend_streams()
    try:
        return while_read(lambda: _main(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="birefnet-batch-status",
        description="How a run stands, read from its output at any time and from any machine.",
    )
    parser.add_argument("output", type=given, help="the run's output: a folder, or an s3://, gs:// or az:// location")
    add_storage_words(parser)
    parser.add_argument("--run", help="which run of the output; the latest if left out")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--slowest", type=int, default=5, help="how many of the slowest videos to name")
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="write a row per video to FILE.parquet or FILE.csv (pyarrow)"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.slowest < 0:
        parser.error("--slowest must be at least 0")
    if options.manifest is not None and (options.run is not None or options.json):
        parser.error("--manifest writes the videos of all runs; leave --run and --json out")
    try:
        store = open_store(options.output, storage_from_words(options.settings))
        if options.manifest is not None:
            from birefnet_batch.manifest_export import export_manifest

            count = export_manifest(store, options.manifest)
            print(f"{count} videos: {options.manifest}")
            return OK
        status = read_status(store, options.run, options.slowest)
    except BirefnetBatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    if options.json:
        print(json.dumps(asdict(status), indent=2, ensure_ascii=False))
    else:
        print_status(store.shown, status)
    return OK


def print_status(location: str, status: RunStatus) -> None:
    """Show a run's state to a person."""
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    counts = status.counts
    left = f", about {status.seconds_left:.0f} s left" if status.seconds_left is not None else ""
    console.print(f"{escape(location)}: run {status.run_id} [bold]{status.state}[/bold] {_when(status)}{left}")
    if status.error:
        console.print(f"error: {escape(status.error)}")
    if status.holder:
        console.print(f"held by {escape(status.holder)}")
    table = Table(show_header=True, box=None, pad_edge=False)
    for name in (*counts, "frames", "frames/s", "videos/min"):
        table.add_column(name, justify="right")
    figures = (status.frames, f"{status.frames_per_s:g}", f"{status.videos_per_min:g}")
    table.add_row(*(str(value) for value in (*counts.values(), *figures)))
    console.print(table)
    if status.failures:
        console.print(f"failed: {len(status.failures)}")
        for failure in status.failures[:_SHOWN_FAILURES]:
            console.print(f"  {escape(failure['input'])}: {escape(failure['error'])}")
        if len(status.failures) > _SHOWN_FAILURES:
            console.print(f"  and {len(status.failures) - _SHOWN_FAILURES} more (--json has all)")
    if status.slowest:
        console.print("slowest:")
        for video in status.slowest:
            console.print(f"  {video['seconds']:8.1f} s  {video['frames']:6} frames  {escape(video['input'])}")


def _when(status: RunStatus) -> str:
    if status.state != "died":
        return f"after {status.elapsed_s:g} s"
    if status.dead_after_s is None:
        span = f"{status.elapsed_s:g} s or more"
    else:
        span = f"{status.elapsed_s:g} to {status.dead_after_s:g} s"
    return f"{span} after its start at {status.started}"


if __name__ == "__main__":
    sys.exit(main())
