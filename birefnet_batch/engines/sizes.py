"""Models and resolutions as words of a command line or of the matrix."""

from __future__ import annotations

import re

from birefnet_batch.errors import ConfigError
from birefnet_batch.models.registry import Catalogue, ModelSpec


def parse_model(name: str, models: Catalogue) -> ModelSpec:
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
