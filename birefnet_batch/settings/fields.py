"""How a setting is declared."""

from __future__ import annotations

from dataclasses import field, is_dataclass
from enum import Enum
from typing import Any


def setting(default: Any, text: str, entry: type | None = None, keys: str = "SCHEME.OPTION") -> Any:
    """A dataclass field with its default and its line in `--help`.

    `entry` is what a mapping's values are, `keys` what those of an empty one are called there.
    """
    metadata = {"help": text, "entry": entry, "keys": keys}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if is_dataclass(default):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


class Choice(Enum):
    """A setting that has one of some names: in an interpolation such as `output='x/${engine.precision}'`, that name."""

    def __str__(self) -> str:
        return self.name


def plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
