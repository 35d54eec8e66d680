"""`birefnet-batch` and `python -m birefnet_batch`."""

from __future__ import annotations

import sys

from birefnet_batch.exit_status import INTERRUPTED, OK, end_at_once, when_told_to_stop, while_read
from birefnet_batch.standard_streams import lose_output, mend_streams


def main() -> None:
    """Run the program; `--help` and `--version` answer without loading it."""
    mend_streams()
    try:
        status = while_read(lambda: _main(sys.argv[1:]))
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def _main(words: list[str]) -> int:
    # To the first process of a container, as this one may be, the kernel delivers no signal that has no handler.
    when_told_to_stop(end_at_once)
    if any(word in ("-h", "--help") for word in words):
        from birefnet_batch.command_help import help_text

        print(help_text())
        return OK
    if "--version" in words:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("birefnet-batch"))
        except PackageNotFoundError:
            print("birefnet-batch, from a checkout that is not installed")
        return OK
    # What a run prints is in its output's files too.
    lose_output()
    from birefnet_batch.process_tuning import keep_freed_memory, spin_briefly

    spin_briefly()
    keep_freed_memory()
    from birefnet_batch.app import main as run_app

    return run_app()


if __name__ == "__main__":
    main()
