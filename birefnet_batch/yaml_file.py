"""A YAML file of the user's, read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from birefnet_batch.errors import ConfigError
from birefnet_batch.manifest_entries import BAD_TAG, BAD_TAG_ERRORS
from birefnet_batch.refusals import one_line
from birefnet_batch.repeated_names import load_yaml


def read_yaml(path: Path, what: str) -> Any:
    """Return what a file says.

    Args:
        path: the file, in UTF-8.
        what: it is, for people.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return load_yaml(path.read_text("utf-8"))
    except BAD_TAG_ERRORS:
        raise ConfigError(f"{what} {path} cannot be read: {BAD_TAG}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {one_line(error)}") from None
