"""`birefnet-batch-verify OUTPUT`: repeat a run's videos into scratch space and compare them with its results."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, WRONG_USE, end_as_at_ctrl_c, while_read
from birefnet_batch.option_values import folder, given
from birefnet_batch.process_tuning import spin_briefly
from birefnet_batch.standard_streams import mend_streams
from birefnet_batch.storage_words import add_storage_words, storage_from_words
from birefnet_batch.temporary_folder import require_temporary_folder

_GOOD = ("identical", "close")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify; 0 when every video is identical or close, 1 when not, 2 for any error, 130 when interrupted."""
    mend_streams()
    # The repeats are as large as the results, and would stay in the temporary folder.
    end_as_at_ctrl_c()
    try:
        return while_read(lambda: _main(arguments))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="birefnet-batch-verify",
        description="Repeat a run, all of it or a sample, and compare: digests where machine, versions, engine and "
        "counts are the same, PSNR and matte error where they are not.",
        epilog="Exit status: 0 all identical or close, 1 some differ or could not be repeated, 2 wrong use.",
    )
    parser.add_argument("output", type=given, help="the run's output: a folder, or an s3://, gs:// or az:// location")
    add_storage_words(parser)
    parser.add_argument("--sample", type=int, metavar="N", help="repeat N videos, chosen by chance; all if left out")
    parser.add_argument("--seed", type=int, default=0, help="which N (default 0)")
    parser.add_argument(
        "--scratch", type=folder, help="a folder for the repeats; the system's temporary one if left out"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_intermixed_args(arguments)
    spin_briefly()
    if options.sample is not None and options.sample < 1:
        parser.error("--sample must be at least 1")
    if options.scratch is not None and os.path.isfile(options.scratch):  # noqa: PTH113  Path.is_file raises for long names
        parser.error(f"--scratch {options.scratch} is a file; give a folder")
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    try:
        from birefnet_batch.progress import make_progress
        from birefnet_batch.storage.stores import open_store
        from birefnet_batch.verify import verify

        storage = storage_from_words(options.settings)
        if options.scratch is not None:
            options.scratch.mkdir(parents=True, exist_ok=True)
        require_temporary_folder()
        with tempfile.TemporaryDirectory(dir=options.scratch, prefix="birefnet-batch-verify-") as scratch:
            compared = verify(
                open_store(options.output, storage),
                storage,
                Path(scratch),
                sample=options.sample,
                seed=options.seed,
                progress=make_progress,
            )
    except (BirefnetBatchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    if options.json:
        print(json.dumps([asdict(item) for item in compared], indent=2, ensure_ascii=False))
    else:
        for item in compared:
            psnr = f"{item.psnr_db:6.2f} dB" if item.psnr_db is not None else "-"
            matte = f"{item.matte_error:.5f}" if item.matte_error is not None else "-"
            print(f"{item.verdict:11}  PSNR {psnr:>9}  matte error {matte:>7}  {item.input}  {item.reason}".rstrip())
        counts = Counter(item.verdict for item in compared)
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return OK if all(item.verdict in _GOOD for item in compared) else FAILED


if __name__ == "__main__":
    sys.exit(main())
