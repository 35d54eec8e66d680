"""How a setting is declared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, field, fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from birefnet_batch.errors import ConfigError


def setting(
    default: Any, text: str, entry: type | None = None, keys: str = "SCHEME.OPTION", number: bool = False
) -> Any:
    """A dataclass field with its default and its line in `--help`.

    `entry` is what a mapping's values are, `keys` what those of an empty one are called there. `number` says of a text
    that a program may give a number for it.
    """
    metadata = {"help": text, "entry": entry, "keys": keys, "number": number}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if is_dataclass(default):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


class Choice(Enum):
    """A setting that has one of some names: in an interpolation such as `output='x/${engine.precision}'`, that name."""

    def __str__(self) -> str:
        return self.name


class Group:
    """Settings that are made in Python: names of choices and paths are read, and what is of another type is refused."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `help()` say what the settings are, as `--help` does."""
        super().__init_subclass__(**kwargs)
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        lines = "".join(f"\n    {name}: {item.metadata.get('help', '')}" for name, item in declared.items())
        cls.__doc__ = f"{cls.__doc__ or ''}\n\nAttributes:{lines}"

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            name, kind = f"{type(self).__name__}.{item.name}", kinds[item.name]
            read = str(value) if item.metadata["number"] and _is_number(value) else _read(name, kind, value)
            if read is not value:
                object.__setattr__(self, item.name, read)


def _read(name: str, kind: Any, value: Any) -> Any:
    """A value as its setting has it.

    Raises:
        ConfigError: it is of none of the types that the setting takes.
    """
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if Any in kinds:
        return value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    for one in kinds:
        base = get_origin(one) or one
        if issubclass(base, Choice) and isinstance(value, str) and value in base.__members__:
            return base[value]
        if base is list and isinstance(value, list | tuple):
            return [_read(name, get_args(one)[0], item) for item in value]
        if base is dict and isinstance(value, Mapping):
            return {key: _read(f"{name}[{key!r}]", get_args(one)[1], item) for key, item in value.items()}
        if isinstance(value, (int, float) if base is float else base) and (
            base not in (int, float) or _is_number(value)
        ):
            return value
    # Its value may be a secret, where it is no choice.
    choices = [list(one.__members__) for one in kinds if isinstance(one, type) and issubclass(one, Choice)]
    given = repr(value) if choices else f"of the type {type(value).__name__}"
    names = choices[0] if choices else [getattr(one, "__name__", str(one)) for one in kinds]
    allowed = ", ".join(name.replace("NoneType", "None") for name in names)
    raise ConfigError(f"{name} is {given}; give {allowed}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
