"""Models and resolutions as words of a command line or of the matrix."""

from __future__ import annotations

from birefnet_batch.errors import ConfigError
from birefnet_batch.models.registry import ModelSpec, find_model


def parse_model(name: str) -> ModelSpec:
    """The model with this name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return find_model(name)
    except KeyError as error:
        raise ConfigError(str(error.args[0])) from None


def parse_resolution(text: str) -> tuple[int, int]:
    """(width, height) of `WIDTHxHEIGHT`, or of one number for a square.

    Raises:
        ConfigError: it is no resolution that a network takes.
    """
    from birefnet_batch.models.birefnet import SIDE_MULTIPLE

    width, cross, height = text.lower().partition("x")
    sides = (width, height if cross else width)
    if not all(side.isdecimal() and int(side) > 0 and int(side) % SIDE_MULTIPLE == 0 for side in sides):
        raise ConfigError(
            f"the resolution {text!r} is none: give WIDTHxHEIGHT in multiples of {SIDE_MULTIPLE}, such as 1024x1024"
        )
    return int(sides[0]), int(sides[1])
