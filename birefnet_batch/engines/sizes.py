"""Models and resolutions as words of a command line or of the matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from birefnet_batch.errors import ConfigError
from birefnet_batch.models.registry import SHIPPED, Catalogue, ModelSpec


def read_models(files: Sequence[Path]) -> Catalogue:
    """The shipped models and those of files that the main program takes as `--config-dir FOLDER models=NAME`.

    Raises:
        ConfigError: a file cannot be read.
        ProblemsError: entries are wrong, all of them at once.
    """
    entries: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text("utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"the models {file} cannot be read: {' '.join(str(error).split())}") from None
        if not isinstance(content, Mapping):
            raise ConfigError(f"{file} does not map short names to models; docs/models.md shows such a file")
        entries.update({str(key): entry for key, entry in content.items()})
    return SHIPPED.with_entries(entries)


def parse_model(name: str, models: Catalogue = SHIPPED) -> ModelSpec:
    """The model with this name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return models.find(name)
    except KeyError as error:
        raise ConfigError(f"{error.args[0]}; one of yours comes with --models FILE") from None


def parse_resolution(text: str, model: ModelSpec) -> tuple[int, int]:
    """(width, height) of `WIDTHxHEIGHT`, or of one number for a square.

    Raises:
        ConfigError: it is none, or none that requests of this model may name.
    """
    match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no resolution; give {model.allowed}, or one number for a square")
    width, height = int(match[1]), int(match[2] or match[1])
    if not model.allows(f"{width}x{height}"):
        raise ConfigError(f"the resolution {width}x{height} is not allowed with {model.name}; give {model.allowed}")
    return width, height
