"""`birefnet-batch` and `python -m birefnet_batch`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program; `--help` and `--version` answer without loading it."""
    words = sys.argv[1:]
    if any(word in ("-h", "--help") for word in words):
        from birefnet_batch.command_help import help_text

        print(help_text())
        return
    if "--version" in words:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("birefnet-batch"))
        except PackageNotFoundError:
            print("birefnet-batch, from a checkout that is not installed")
        return
    from birefnet_batch.process_tuning import keep_freed_memory

    keep_freed_memory()
    from birefnet_batch.app import main as run_app

    sys.exit(run_app())


if __name__ == "__main__":
    main()
