"""A model as YAML says it: an entry of models.yaml, or of the `models` setting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from birefnet_batch.models.spec import ModelSpec

ANY = "any"
NETWORKS = ("swin_v1_l", "swin_v1_t", "demo")
SIDES = range(64, 4096 + 1, 32)
"""What an entry may name; the network takes multiples of 32."""


def _key(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ModelEntry:
    """One model; the key of the entry is its short name."""

    network: str | None = _key(None, f"the network's size: {' | '.join(NETWORKS)} (required)")
    weights: str | None = _key(None, "a safetensors or .pth file, a folder, or owner/name@revision (required)")
    name: str | None = _key(None, "what requests call it; null is the entry's key")
    native_resolution: str = _key("1024x1024", "what the checkpoint was trained at")
    default_resolution: str | None = _key(None, "of requests that name none; null is the native one")
    resolutions: Any = _key(None, "a list of those that requests may name, or any; null is the native one alone")
    licence: str | None = _key(None, "of the checkpoint, for the record")


def entry_of(key: str, value: Any) -> tuple[ModelEntry | None, list[str]]:
    """An entry as YAML gave it, or what is wrong with its keys."""
    known = [item.name for item in fields(ModelEntry)]
    if isinstance(value, ModelEntry):
        return value, []
    if not isinstance(value, Mapping):
        return None, [f"models.{key} is {value!r}; it must map {', '.join(known)} to values"]
    problems = [
        f"models.{key}.{name} is no key of a model; it has {', '.join(known)}" for name in value if name not in known
    ]
    problems += [
        f"models.{key}.{name} is {value[name]!r}; it must be a text"
        for name in known
        if name != "resolutions" and value.get(name) is not None and not isinstance(value[name], str)
    ]
    if problems:
        return None, problems
    given = {name: item for name, item in value.items() if item is not None}
    return ModelEntry(**given), []


def is_key(key: str) -> bool:
    """Whether an entry may be called so: small letters, digits and underscores, as in names of settings and folders."""
    return re.fullmatch(r"[a-z0-9][a-z0-9_]*", key) is not None


def spec_of(key: str, entry: ModelEntry) -> tuple[ModelSpec | None, list[str]]:
    """The model of an entry, or what is wrong with the entry."""
    where = f"models.{key}"
    problems: list[str] = []
    if not is_key(key):
        problems.append(f"{where}: a key has small letters, digits and underscores; give name for what requests say")
    if entry.network not in NETWORKS:
        given = "is missing" if entry.network is None else f"is {entry.network}"
        problems.append(f"{where}.network {given}; give {' or '.join(NETWORKS)}")
    native = _resolution(entry.native_resolution)
    if native is None:
        problems.append(f"{where}.native_resolution: {_refused(entry.native_resolution)}")
    default = native if entry.default_resolution is None else _resolution(entry.default_resolution)
    if default is None and native is not None:
        problems.append(f"{where}.default_resolution: {_refused(entry.default_resolution)}")
    given_list = [] if entry.resolutions in (None, ANY) else entry.resolutions
    given_list = given_list if isinstance(given_list, list) else [given_list]
    listed = [_resolution(item) for item in given_list]
    problems += [
        f"{where}.resolutions: {_refused(item)}; or {ANY}, for the sides that General Use (Dynamic) takes"
        for item, right in zip(given_list, listed, strict=True)
        if right is None
    ]
    if problems:
        return None, problems
    assert entry.network is not None
    assert native is not None
    assert default is not None
    allowed = tuple(item for item in listed if item is not None) or tuple(dict.fromkeys((native, default)))
    spec = ModelSpec(
        name=entry.name or key,
        short_name=key,
        network=entry.network,
        weights=entry.weights,
        default_resolution=default,
        resolutions=None if entry.resolutions == ANY else allowed,
        licence=entry.licence,
    )
    if not spec.allows(default):
        return None, [f"{where}.resolutions do not have {default}, which requests that name none run at; add it"]
    return spec, []


def _resolution(value: Any) -> str | None:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
    if match is None or any(int(side) not in SIDES for side in match.groups()):
        return None
    return f"{int(match[1])}x{int(match[2])}"


def _refused(given: Any) -> str:
    return (
        f"{given!r} is not allowed; give WIDTHxHEIGHT with sides from {SIDES.start} to {SIDES[-1]} "
        "that are multiples of 32"
    )
