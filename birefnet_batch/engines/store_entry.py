"""One engine of a store: its record, judged where it is read, and its file.

A record says what the engine is, its digest and how it was made. It is believed where its folder has the name that
follows from what it says: a folder that was renamed, or a record that was copied, is another engine's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_batch.digests import file_sha256
from birefnet_batch.engines.artifact import file_name, key_of

ENTRY = "entry.json"
USED = "used"
# Later than any clock's time: what is larger is no time, and may be more than a float holds.
_LAST_SECOND = 1e12


@dataclass(frozen=True)
class Entry:
    """One engine in a store."""

    key: str
    path: Path
    size: int
    facts: dict[str, Any]
    """entry.json."""
    used: float
    """Seconds since the epoch."""

    @property
    def artifact(self) -> dict[str, Any]:
        """What it is."""
        found: dict[str, Any] = self.facts["artifact"]
        return found

    def intact(self) -> bool:
        """Whether the file is the one that was written."""
        try:
            return file_sha256(self.path) == str(self.facts["sha256"])
        except OSError:
            return False


class RecordError(Exception):
    """It is no record of the engine that it should be of."""


def read_entry(folder: Path) -> Entry | None:
    """The engine in a store's folder, without looking at its content; None where not all of it is there and whole."""
    try:
        facts = read_record((folder / ENTRY).read_bytes(), folder.name)
        path = folder / facts["file"]
        return Entry(folder.name, path, path.stat().st_size, facts, (folder / USED).stat().st_mtime)
    except (OSError, RecordError):
        return None


def read_record(content: bytes, key: str) -> dict[str, Any]:
    """Read an entry.json.

    Args:
        content: of the file.
        key: the name of the folder that it is in.

    Raises:
        RecordError: it is no whole record, or that of an engine with another key.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise RecordError("it is no JSON") from None
    if not (_has(record, _RECORD) and _has(record["artifact"], _ARTIFACT)):
        raise RecordError("it lacks what a record has")
    if key_of(record["artifact"]) != key or record["file"] != file_name(record["artifact"]["kind"]):
        raise RecordError("it is the record of another engine")
    found: dict[str, Any] = record
    return found


def _has(mapping: Any, wanted: dict[str, Callable[[Any], bool]]) -> bool:
    return isinstance(mapping, dict) and all(name in mapping and fits(mapping[name]) for name, fits in wanted.items())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _LAST_SECOND


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_size(value: Any) -> bool:
    return value is None or _is_count(value)


_OPTIONS: dict[str, Callable[[Any], bool]] = {"deform_conv": _is_text}
_RECORD: dict[str, Callable[[Any], bool]] = {
    "file": _is_text,
    "sha256": _is_text,
    "artifact": _is_mapping,
    "created": _is_time,
    "facts": _is_mapping,
}
_ARTIFACT: dict[str, Callable[[Any], bool]] = {
    "kind": lambda value: value in ("onnx", "plan"),
    "model": _is_text,
    "network": _is_text,
    "weights_sha256": _is_text,
    "width": _is_count,
    "height": _is_count,
    "precision": _is_text,
    "options": lambda value: _has(value, _OPTIONS) and _is_size(value.get("workspace_bytes")),
    "batch": _is_size,
    "libraries": _are_texts,
    "device": lambda value: _are_texts(value) and (not value or {"name", "compute_capability"} <= value.keys()),
    "code": _is_text,
}
