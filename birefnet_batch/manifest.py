"""From a manifest (YAML, JSON, JSONL, CSV, a folder, a glob) to requests, every bad entry reported with its place.

An entry is a path or URL, or a mapping of request fields. A file may hold `defaults` for its entries; the run's
own request fields come below those. Relative paths are relative to the manifest's folder.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from birefnet_batch.errors import BirefnetBatchError, ConfigError, ManifestError, ProblemsError, RequestError
from birefnet_batch.manifest_bucket import is_file_in_bucket, read_file_in_bucket, uri_in_bucket
from birefnet_batch.manifest_entries import BadLine, Entry, InvalidEntry, short, unreadable
from birefnet_batch.manifest_file import read_file
from birefnet_batch.manifest_folder import (
    VIDEO_SUFFIXES,
    OwnOutput,
    real_folder,
    videos_in_bucket,
    videos_in_folder,
    videos_of_pattern,
)
from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.refusals import system_reason
from birefnet_batch.request import Request, wrong_fields
from birefnet_batch.same_video import same_but_for_secrets, spelt_alike
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, HTTP_SCHEMES, scheme_of
from birefnet_batch.uris import SEQUENCE_NUMBER, canonical_uri, check_path, user_path
from birefnet_batch.url_redaction import redact, redact_text

_SHOWN_PROBLEMS = 50


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
        location: a manifest file, a folder of videos (searched in depth) or a glob, as a path or a file:// URI; all of
            these in buckets too.
        defaults: request fields that entries start from.
        exclude: a folder or bucket location whose files are no inputs: the run's own output.
        models: those that an entry may name.
        storage: how buckets are reached.

    Raises:
        ManifestError: the manifest as a whole cannot be read, or it names no video at all.
        ConfigError: the location is neither a path nor a URL.
        InputError: it is a file:// URI with a host.
    """
    path = user_path(location)
    try:
        there = path.exists()
    except OSError as error:
        reason = system_reason(error)
        raise unreadable(short(redact(location)), reason) from None
    if not there:
        check_path(location, ConfigError)
    outside = f"{str(exclude).rstrip('/')}/" if exclude is not None else None
    storage = storage or StorageSettings()
    wrong_defaults: InvalidEntry | None = None
    file_defaults: Mapping[str, Any] = {}
    entries: Iterable[Entry]
    locate = partial(canonical_uri, base=path.parent.absolute() if path.is_file() else Path.cwd())
    if scheme_of(location) in BUCKET_SCHEMES:
        if is_file_in_bucket(location):
            entries, file_defaults = read_file_in_bucket(location, storage)
            locate = partial(uri_in_bucket, folder=location.rpartition("/")[0])
        else:
            entries = videos_in_bucket(location, outside, storage)
    elif path.is_file():
        entries, file_defaults = read_file(path)
    else:
        entries = _on_disk(location, path, OwnOutput(None if exclude is None else real_folder(str(exclude))))
    if bad := wrong_fields(file_defaults, models):
        # They are part of every entry, so that none can be run, and none is to blame.
        wrong_defaults = InvalidEntry(f"{path.name}, defaults", tuple(bad.values()))
        file_defaults = {name: value for name, value in file_defaults.items() if name not in bad}
    defaults = {**defaults, **file_defaults}
    manifest = _check(entries, defaults, locate, models)
    if wrong_defaults is not None:
        manifest = Manifest((), (wrong_defaults, *manifest.invalid), manifest.duplicates)
    if not manifest.requests and not manifest.problems:
        raise ManifestError(f"The manifest {location} names no videos", [_nothing_found(location, path, outside)])
    return manifest


def _on_disk(location: str, path: Path, own: OwnOutput) -> Iterable[Entry]:
    """The videos of a folder or a pattern."""
    if path.is_dir():
        return videos_in_folder(path, own)
    if scheme_of(location) not in ("", "file"):
        raise unreadable(redact(location), "it is a URL; download it and give its path")
    if not path.exists() and glob.has_magic(str(path)):
        return videos_of_pattern(str(path), own)
    if path.exists():
        raise unreadable(
            location,
            "it is a pipe or a device; write it to a file, whose suffix (.yaml, .json, .jsonl, .csv) says what it is",
        )
    images = f"; numbered images are one video as request.video_url={path}" if SEQUENCE_NUMBER.search(path.name) else ""
    raise unreadable(location, f"it does not exist; give a YAML, JSON, JSONL or CSV file, a folder or a glob{images}")


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


def _nothing_found(location: str, path: Path, outside: str | None) -> str:
    # A bucket's location loses a slash as a path, and so does the output's here.
    if outside is not None and real_folder(str(path)).is_relative_to(real_folder(outside)):
        return "it is the run's output, or inside of it, and what is there is no input; give another output=FOLDER"
    if path.is_dir():
        from birefnet_batch.storage.sequence_source import numbered_images

        pattern = numbered_images(path)
        images = f"; its images are one video as request.video_url={path / pattern}" if pattern else ""
        return f"the folder holds no file that ends in {', '.join(sorted(VIDEO_SUFFIXES))}{images}"
    if scheme_of(location) in BUCKET_SCHEMES:
        if path.suffix.lower() in VIDEO_SUFFIXES and not glob.has_magic(location):
            return f"it is no folder; for one video give request.video_url={location}"
        return f"no object there has a name that ends in {', '.join(sorted(VIDEO_SUFFIXES))}"
    if path.exists():
        return "it has no entries; list paths or URLs, or mappings with video_url"
    brackets = "; a bracket of a name is written [[]" if "[" in location else ""
    return f"the pattern matches no file; quote it so that the shell leaves it alone{brackets}"


def _check(
    entries: Iterable[Entry], defaults: Mapping[str, Any], locate: Callable[[str], str], models: Catalogue
) -> Manifest:
    requests: dict[Request, None] = {}
    places: dict[tuple[str, ...], tuple[str, str]] = {}
    invalid: list[InvalidEntry] = []
    count = 0
    known = _Known(models)
    for entry in entries:
        try:
            request = known.request(_fields(entry, defaults, locate))
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
    if not spelt_alike(first_url, url):
        raise same_but_for_secrets(shown, f"the URL of {first_place}")


class _Known:
    """Requests of fields, those that differ in their video alone validated once: manifests have 100,000 of them."""

    def __init__(self, models: Catalogue) -> None:
        self._models = models
        self._found: dict[tuple[Any, ...], Request] = {}

    def request(self, fields: Mapping[str, Any]) -> Request:
        # With their types, for 1 == True.
        others = tuple((name, type(value), value) for name, value in fields.items() if name != "video_url")
        try:
            found = self._found.get(others)
        except TypeError:
            # A list, say, which is no value of any field.
            return Request.from_dict(fields, self._models)
        if found is None:
            found = self._found[others] = Request.from_dict(fields, self._models)
            return found
        return found.of(fields.get("video_url"))


def _fields(entry: Entry, defaults: Mapping[str, Any], locate: Callable[[str], str]) -> dict[str, Any]:
    value = entry.value
    if isinstance(value, str):
        value = {"video_url": value}
    elif isinstance(value, BadLine):
        raise RequestError("entry", [value.reason])
    elif not isinstance(value, Mapping):
        kind = type(value).__name__
        raise RequestError("entry", [f"it is of type {kind}; give a path or URL, or a mapping of request fields"])
    given = {name: item for name, item in value.items() if item is not None}
    fields = {**defaults, **given}
    url = fields.get("video_url")
    if isinstance(url, str) and url.strip():
        fields["video_url"] = locate(url.strip())
    return fields
