"""Files of a user's own models, for the programs beside the main one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.yaml_file import read_yaml


def add_models_option(parser: argparse.ArgumentParser) -> None:
    """Add `--models FILE`, repeatable; its files are in `catalogue`, for `read_models`."""
    parser.add_argument(
        "--models",
        dest="catalogue",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="models of yours, FOLDER/models/NAME.yaml of `birefnet-batch --config-dir FOLDER models=NAME`",
    )


def read_models(files: Sequence[Path]) -> Catalogue:
    """The shipped models and those of files that the main program takes as `--config-dir FOLDER models=NAME`.

    Raises:
        ConfigError: a file cannot be read.
        ProblemsError: entries are wrong, all of them at once.
    """
    entries: dict[str, Any] = {}
    for file in files:
        content = read_yaml(file, "the models")
        if not isinstance(content, Mapping):
            raise ConfigError(
                f"{file} does not map short names to models; give lines such as mine: {{network: swin_v1_t, weights: "
                "mine.safetensors}"
            )
        entries.update({str(key): entry for key, entry in content.items()})
    return SHIPPED.with_entries(entries)
