"""A manifest file (YAML, JSON, JSONL, CSV) -> its entries, each with its place, and its defaults."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from birefnet_batch.manifest_entries import BAD_TAG, BAD_TAG_ERRORS, BadLine, Entry, short, unreadable
from birefnet_batch.manifest_folder import VIDEO_SUFFIXES
from birefnet_batch.refusals import one_line
from birefnet_batch.repeated_names import repetition, repetition_in
from birefnet_batch.url_redaction import redact_text, redact_value

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson", ".csv")
_OTHER_SEPARATORS = {";": "';'", "\t": "a tab"}


def read_file(path: Path) -> tuple[Iterable[Entry], Mapping[str, Any]]:
    """The entries of a manifest file, and the request fields that they start from.

    Raises:
        ManifestError: it cannot be read as a whole.
    """
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        hint = f"; for one video give request.video_url={path}" if suffix in VIDEO_SUFFIXES else ""
        raise unreadable(path, f"it must end in {', '.join(MANIFEST_SUFFIXES)}{hint}")
    try:
        if suffix == ".csv":
            return _all_of_csv(path), {}
        if suffix in (".jsonl", ".ndjson"):
            return _jsonl(path)
        if suffix == ".json":
            return _document(path, _JSON.decode(path.read_text("utf-8-sig")), [])
        return _yaml(path)
    except (OSError, ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        reason = short(redact_text(one_line(error)))
        raise unreadable(path, reason) from None


def _document(path: Path, data: Any, lines: list[int]) -> tuple[list[Entry], Mapping[str, Any]]:
    defaults: Any = {}
    if isinstance(data, BadLine):
        raise ValueError(data.reason)
    if isinstance(data, Mapping):
        unknown = sorted(set(map(str, data)) - {"defaults", "videos"})
        if unknown or "videos" not in data:
            found = f"it has {short(', '.join(map(redact_value, unknown)))}" if unknown else "it has no videos"
            raise unreadable(path, f"{found}; the keys are defaults (optional) and videos")
        defaults, data = data.get("defaults") or {}, data["videos"]
    if not isinstance(defaults, Mapping):
        raise unreadable(path, "defaults must map request fields to values")
    if not isinstance(data, list):
        data = [] if data is None else data
        if data != []:
            raise unreadable(path, "it must be a list of videos, or a mapping with videos")
    for number, value in enumerate(data, 1):
        if isinstance(value, Mapping) and "defaults" in value:
            raise unreadable(
                path, f"entry {number} has defaults; give them once, beside videos: a mapping of defaults and videos"
            )
    return [
        Entry(f"{path.name}, entry {index + 1}{f' (line {lines[index]})' if lines else ''}", value)
        for index, value in enumerate(data)
    ], defaults


def _yaml(path: Path) -> tuple[list[Entry], Mapping[str, Any]]:
    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = loader_class(path.read_text("utf-8-sig"))
    try:
        node = loader.get_single_node()
        videos, twice = _looked_through(node)
        data: Any = [] if node is None else loader.construct_document(node)
    except BAD_TAG_ERRORS:
        raise ValueError(BAD_TAG) from None
    finally:
        loader.dispose()
    for index, bad in twice.items():
        (data["videos"] if isinstance(data, Mapping) else data)[index] = bad
    return _document(path, [] if data is None else data, [item.start_mark.line + 1 for item in videos])


def _looked_through(node: yaml.Node | None) -> tuple[list[yaml.Node], dict[int, BadLine]]:
    """The nodes of a document's entries, and those that have a name twice, by their index.

    Raises:
        ValueError: the document as a whole, or its defaults, have a name twice.
    """
    parts: dict[str, yaml.Node] = {}
    if isinstance(node, yaml.MappingNode):
        parts = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    for whole in (node, parts.get("defaults")):
        if bad := _bad(repetition_in(whole)):
            raise ValueError(bad.reason)
    listed = parts.get("videos", node)
    videos = listed.value if isinstance(listed, yaml.SequenceNode) else []
    return videos, {index: bad for index, video in enumerate(videos) if (bad := _bad(repetition_in(video)))}


def _bad(repetition: str | None) -> BadLine | None:
    return None if repetition is None else BadLine(f"{repetition}, and each video an entry of its own")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | BadLine:
    """The mapping of these pairs, or what is wrong with it or in it."""
    inner = next((value for _, value in pairs if isinstance(value, BadLine)), None)
    return inner or _bad(repetition([name for name, _ in pairs])) or dict(pairs)


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def _jsonl(path: Path) -> tuple[list[Entry], Mapping[str, Any]]:
    entries: list[Entry] = []
    defaults: Mapping[str, Any] | None = None
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = _JSON.decode(line.rstrip())
            except json.JSONDecodeError as error:
                value = BadLine(f"it is no JSON: {error.msg} at column {error.colno}")
            except (ValueError, RecursionError) as error:
                value = BadLine(f"it cannot be read: {error}")
            if not entries and defaults is None and isinstance(value, dict) and set(value) == {"defaults"}:
                defaults = value["defaults"]
                if not isinstance(defaults, Mapping):
                    raise unreadable(path, "defaults must map request fields to values")
                continue
            if wrong := _lost_defaults(value, line):
                raise unreadable(path, f"line {number} has defaults{wrong}")
            entries.append(Entry(f"{path.name}, line {number}", value))
    return entries, defaults or {}


def _lost_defaults(value: Any, line: str) -> str | None:
    """What is wrong with defaults that would be taken for a bad entry, and every video be run without them."""
    if isinstance(value, BadLine) and '"defaults"' in line:
        return f", and {short(redact_text(value.reason))}"
    if isinstance(value, dict) and "defaults" in value:
        return '; they are the first line, with nothing beside them: {"defaults": {...}}'
    return None


def _all_of_csv(path: Path) -> list[Entry]:
    # Data URIs are longer than the library's limit, which is one for the process.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        return list(_csv(path))
    finally:
        csv.field_size_limit(limit)


def _csv(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # Before it is read: with quotes around its names the reader would fail.
        if separator := _other_separator(file.readline()):
            raise unreadable(
                path,
                f"its columns are separated by {separator}; write it with commas between them (CSV, comma delimited), "
                "and with quotes around a cell that has a comma in it",
            )
        file.seek(0)
        reader = csv.DictReader(file, strict=True)
        if "video_url" not in (reader.fieldnames or ()):
            raise unreadable(path, "its first line must name the columns, video_url among them")
        # Programs for tables leave columns without a name at the end.
        if bad := _bad(repetition([name for name in reader.fieldnames or () if name])):
            raise unreadable(path, f"its first line: {short(bad.reason)}")
        for row in reader:
            place = f"{path.name}, line {reader.line_num}"
            if None in row:
                yield Entry(place, BadLine("it has more cells than the first line has columns"))
            else:
                yield Entry(place, {name: cell for name, cell in row.items() if cell})


def _other_separator(first_line: str) -> str | None:
    """What separates the columns in place of commas, as Excel has it in much of Europe; None where nothing does."""
    for separator, name in _OTHER_SEPARATORS.items():
        cells = [cell.strip(' "\r\n') for cell in first_line.split(separator)]
        if len(cells) > 1 and "video_url" in cells:
            return name
    return None
