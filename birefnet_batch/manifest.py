"""From a manifest (YAML, JSON, JSONL, CSV, a folder, a glob) to requests, every bad entry reported with its place.

An entry is a path or URL, or a mapping of request fields. A file may hold `defaults` for its entries; the run's
own request fields come below those. Relative paths are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from birefnet_batch.errors import BirefnetBatchError, ManifestError, ProblemsError, RequestError
from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.request import Request, wrong_fields
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uris import (
    BUCKET_SCHEMES,
    HTTP_SCHEMES,
    canonical_uri,
    local_path,
    redact,
    redact_text,
    redact_value,
    same_but_for_secrets,
    scheme_of,
    user_path,
)

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson", ".csv")
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf .gif".split()
)
_SHOWN_PROBLEMS = 50
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class InvalidEntry:
    """An entry that is no request: where it is, and all that is wrong with it, without secrets and not without end."""

    place: str
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        shown = tuple(_short(redact_text(reason)) for reason in self.reasons[:_SHOWN_PROBLEMS])
        if len(self.reasons) > len(shown):
            shown += (f"and {len(self.reasons) - len(shown)} more",)
        object.__setattr__(self, "reasons", shown)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 3]}..."


@dataclass(frozen=True)
class Manifest:
    """The requests of a manifest, duplicates dropped, and what was wrong with the entries that are none."""

    requests: tuple[Request, ...]
    invalid: tuple[InvalidEntry, ...]
    duplicates: int

    @property
    def problems(self) -> tuple[str, ...]:
        """All that was wrong, each with its place."""
        return tuple(f"{entry.place}: {reason}" for entry in self.invalid for reason in entry.reasons)


@dataclass(frozen=True)
class _Entry:
    place: str
    value: Any


def load_manifest(
    location: str,
    defaults: Mapping[str, Any],
    *,
    exclude: Path | str | None = None,
    models: Catalogue = SHIPPED,
    storage: StorageSettings | None = None,
) -> Manifest:
    """Read a manifest and check every entry.

    Args:
        location: a manifest file, a folder of videos (searched in depth) or a glob; folders and globs of buckets too.
        defaults: request fields that entries start from.
        exclude: a folder or bucket location whose files are no inputs: the run's own output.
        models: those that an entry may name.
        storage: how buckets are reached.

    Raises:
        ManifestError: the manifest as a whole cannot be read, or it names no video at all.
    """
    path = user_path(location)
    outside = f"{str(exclude).rstrip('/')}/" if exclude is not None else None
    own = _Own(None if exclude is None else _real_folder(str(exclude)))
    wrong_defaults: InvalidEntry | None = None
    if scheme_of(location) in BUCKET_SCHEMES:
        entries: Iterable[_Entry] = _bucket(location, outside, storage or StorageSettings())
    elif path.is_dir():
        entries = _folder(path, own)
    elif path.exists():
        entries, file_defaults = _read_file(path)
        bad = wrong_fields(file_defaults, models)
        if bad:
            # They are part of every entry, so that none can be run, and none is to blame.
            wrong_defaults = InvalidEntry(f"{path.name}, defaults", tuple(bad.values()))
            file_defaults = {name: value for name, value in file_defaults.items() if name not in bad}
        defaults = {**defaults, **file_defaults}
    elif scheme_of(location):
        raise ManifestError(
            f"The manifest {redact(location)} cannot be read", ["it is a URL; download it and give its path"]
        )
    elif glob.has_magic(location):
        entries = _glob(str(path), own)
    else:
        raise ManifestError(
            f"The manifest {location} cannot be read",
            ["it does not exist; give a YAML, JSON, JSONL or CSV file, a folder or a glob"],
        )
    base = path.parent if path.is_file() else Path()
    manifest = _check(entries, defaults, base, models)
    if wrong_defaults is not None:
        manifest = Manifest((), (wrong_defaults, *manifest.invalid), manifest.duplicates)
    if not manifest.requests and not manifest.problems:
        raise ManifestError(f"The manifest {location} names no videos", [_nothing_found(path, outside)])
    return manifest


def invalid_entries(location: str, manifest: Manifest) -> ManifestError:
    """The error that reports a manifest's bad entries: fifty problems, and a file of all where there are more."""
    shown, count = list(manifest.problems[:_SHOWN_PROBLEMS]), len(manifest.invalid)
    if len(manifest.problems) > len(shown):
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="birefnet-batch-", suffix=".txt", delete=False
        ) as file:
            file.writelines(f"{redact_text(problem)}\n" for problem in manifest.problems)
        shown.append(f"and {len(manifest.problems) - len(shown)} more; {file.name} has all of them")
    entries = "1 bad entry" if count == 1 else f"{count} bad entries"
    hint = " (on_invalid=skip runs the others)" if manifest.requests else ""
    return ManifestError(f"The manifest {location} has {entries}{hint}", shown)


def _nothing_found(path: Path, outside: str | None) -> str:
    # A bucket's location loses a slash as a path, and so does the output's here.
    if outside is not None and _real_folder(str(path)).is_relative_to(_real_folder(outside)):
        return "it is the run's output, or inside of it, and what is there is no input; give another output=FOLDER"
    if path.is_dir():
        from birefnet_batch.storage.sequence_source import numbered_images

        pattern = numbered_images(path)
        images = f"; its images are one video as request.video_url={path / pattern}" if pattern else ""
        return f"the folder holds no file that ends in {', '.join(sorted(VIDEO_SUFFIXES))}{images}"
    if scheme_of(str(path).replace(":/", "://", 1)) in BUCKET_SCHEMES:
        return f"no object there has a name that ends in {', '.join(sorted(VIDEO_SUFFIXES))}"
    if path.exists():
        return "it has no entries; list paths or URLs, or mappings with video_url"
    return "the pattern matches no file; quote it so that the shell leaves it alone"


def _check(entries: Iterable[_Entry], defaults: Mapping[str, Any], base: Path, models: Catalogue) -> Manifest:
    base = base.absolute()
    requests: dict[Request, None] = {}
    places: dict[tuple[str, ...], tuple[str, str]] = {}
    invalid: list[InvalidEntry] = []
    count = 0
    for entry in entries:
        try:
            request = _request(entry, defaults, base, models)
            _check_alike(request, entry.place, places)
        except ProblemsError as error:
            invalid.append(InvalidEntry(entry.place, error.problems))
        except BirefnetBatchError as error:
            invalid.append(InvalidEntry(entry.place, (str(error),)))
        else:
            count += 1
            requests[request] = None
    return Manifest(tuple(requests), tuple(invalid), count - len(requests))


def _check_alike(request: Request, place: str, places: dict[tuple[str, ...], tuple[str, str]]) -> None:
    """Refuse a request that differs from an earlier one in nothing but the secrets of its URL."""
    url = request.video_url
    if scheme_of(url) not in HTTP_SCHEMES:
        return
    shown = redact(url)
    first_url, first_place = places.setdefault(
        tuple(map(str, {**request.to_dict(), "video_url": shown}.values())), (url, place)
    )
    if first_url != url:
        raise same_but_for_secrets(shown, f"the URL of {first_place}")


def _request(entry: _Entry, defaults: Mapping[str, Any], base: Path, models: Catalogue) -> Request:
    value = entry.value
    if isinstance(value, str):
        value = {"video_url": value}
    elif isinstance(value, _BadLine):
        raise RequestError("entry", [value.reason])
    elif not isinstance(value, Mapping):
        kind = type(value).__name__
        raise RequestError("entry", [f"it is of type {kind}; give a path or URL, or a mapping of request fields"])
    given = {name: item for name, item in value.items() if item is not None}
    fields = {**defaults, **given}
    url = fields.get("video_url")
    if isinstance(url, str) and url.strip():
        fields["video_url"] = canonical_uri(url.strip(), base)
    return Request.from_dict(fields, models)


def _read_file(path: Path) -> tuple[Iterable[_Entry], Mapping[str, Any]]:
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        hint = f"; for one video give request.video_url={path}" if suffix in VIDEO_SUFFIXES else ""
        raise ManifestError(
            f"The manifest {path} cannot be read", [f"it must end in {', '.join(MANIFEST_SUFFIXES)}{hint}"]
        )
    try:
        if suffix == ".csv":
            return _all_of_csv(path), {}
        if suffix in (".jsonl", ".ndjson"):
            return _jsonl(path)
        if suffix == ".json":
            return _document(path, json.loads(path.read_text("utf-8-sig")), [])
        return _yaml(path)
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, yaml.YAMLError) as error:
        reason = _short(redact_text(" ".join(str(error).split())))
        raise ManifestError(f"The manifest {path} cannot be read", [reason]) from None


def _document(path: Path, data: Any, lines: list[int]) -> tuple[list[_Entry], Mapping[str, Any]]:
    defaults: Any = {}
    if isinstance(data, Mapping):
        unknown = sorted(set(map(str, data)) - {"defaults", "videos"})
        if unknown or "videos" not in data:
            found = f"it has {_short(', '.join(map(redact_value, unknown)))}" if unknown else "it has no videos"
            raise ManifestError(
                f"The manifest {path} cannot be read",
                [f"{found}; the keys are defaults (optional) and videos"],
            )
        defaults, data = data.get("defaults") or {}, data["videos"]
    if not isinstance(defaults, Mapping):
        raise ManifestError(f"The manifest {path} cannot be read", ["defaults must map request fields to values"])
    if not isinstance(data, list):
        data = [] if data is None else data
        if data != []:
            raise ManifestError(
                f"The manifest {path} cannot be read",
                ["it must be a list of videos, or a mapping with videos"],
            )
    return [
        _Entry(f"{path.name}, entry {index + 1}{f' (line {lines[index]})' if lines else ''}", value)
        for index, value in enumerate(data)
    ], defaults


def _yaml(path: Path) -> tuple[list[_Entry], Mapping[str, Any]]:
    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = loader_class(path.read_text("utf-8-sig"))
    try:
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "videos"), None)
    lines = [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    return _document(path, [] if data is None else data, lines)


def _jsonl(path: Path) -> tuple[list[_Entry], Mapping[str, Any]]:
    entries: list[_Entry] = []
    defaults: Mapping[str, Any] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line.rstrip())
            except json.JSONDecodeError as error:
                value = _BadLine(f"it is no JSON: {error.msg} at column {error.colno}")
            if not entries and not defaults and isinstance(value, dict) and set(value) == {"defaults"}:
                defaults = value["defaults"]
                if not isinstance(defaults, Mapping):
                    raise ManifestError(
                        f"The manifest {path} cannot be read", ["defaults must map request fields to values"]
                    )
                continue
            entries.append(_Entry(f"{path.name}, line {number}", value))
    return entries, defaults


def _all_of_csv(path: Path) -> list[_Entry]:
    # Data URIs are longer than the library's limit, which is one for the process.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        return list(_csv(path))
    finally:
        csv.field_size_limit(limit)


def _csv(path: Path) -> Iterator[_Entry]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if "video_url" not in (reader.fieldnames or ()):
            raise ManifestError(
                f"The manifest {path} cannot be read",
                ["its first line must name the columns, video_url among them"],
            )
        for row in reader:
            place = f"{path.name}, line {reader.line_num}"
            if None in row:
                yield _Entry(place, _BadLine("it has more cells than the first line has columns"))
            else:
                yield _Entry(place, {name: cell for name, cell in row.items() if cell})


class _BadLine:
    """An entry that is not even data; reported in its place like any other."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _folder(path: Path, own: _Own) -> Iterator[_Entry]:
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        # What is no file, a pipe or a link to nowhere, fails as a video that says so.
        if found.suffix.lower() in VIDEO_SUFFIXES and not hidden and not found.is_dir() and not own.holds(found):
            yield _Entry(str(found), str(found.absolute()))


def _bucket(location: str, exclude: str | None, storage: StorageSettings) -> Iterator[_Entry]:
    from birefnet_batch.storage.listing import list_videos

    for uri in list_videos(location, VIDEO_SUFFIXES, storage):
        if exclude is None or not uri.startswith(exclude):
            yield _Entry(uri, uri)


def _glob(pattern: str, own: _Own) -> Iterator[_Entry]:
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  Path.glob refuses absolute patterns
        found = Path(name)
        if not found.is_dir() and not own.holds(found):
            yield _Entry(name, str(found.absolute()))


class _Own:
    """The run's own output, of which nothing is an input."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[Path, bool] = {}

    def holds(self, path: Path) -> bool:
        """Whether a file is in it; each folder is looked at once."""
        if self._folder is None:
            return False
        if path.parent not in self._known:
            self._known[path.parent] = _real_folder(str(path.parent)).is_relative_to(self._folder)
        return self._known[path.parent]


def _real_folder(location: str) -> Path:
    """A folder however it is spelt: relative, with dots, as a URI, through links."""
    return Path(os.path.realpath(local_path(location) if scheme_of(location) == "file" else user_path(location)))
