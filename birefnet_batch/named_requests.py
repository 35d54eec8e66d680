"""The requests that the settings name: one on the command line, one in a file, or those of a manifest."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from birefnet_batch.command_line import given_overrides
from birefnet_batch.errors import ConfigError, RequestError
from birefnet_batch.manifest import invalid_entries, load_manifest
from birefnet_batch.manifest_entries import InvalidEntry
from birefnet_batch.request import Request, wrong_fields
from birefnet_batch.request_file import load_request_file
from birefnet_batch.settings import OnInvalid, RequestSettings, Settings

_log = logging.getLogger(__name__)


def requests_of(settings: Settings) -> tuple[tuple[Request, ...], tuple[InvalidEntry, ...]]:
    """The requests that the settings name, and the manifest entries that are skipped.

    Raises:
        ConfigError: nothing is named, or more than one thing is, or what is named has problems.
    """
    fields = {name: value for name, value in asdict(settings.request).items() if value is not None}
    named = {
        "request.video_url": fields.get("video_url"),
        "request_file": settings.request_file,
        "manifest": settings.manifest,
    }
    given = [name for name, value in named.items() if value is not None]
    if not given:
        raise ConfigError(
            "There is nothing to do. Try one of\n"
            "  birefnet-batch experiment=demo\n"
            "  birefnet-batch request.video_url=clip.mp4 request.model=demo output=out\n"
            "  birefnet-batch manifest=videos.yaml output=out\n"
            "  birefnet-batch request_file=call.json output=out\n"
            "  birefnet-batch --help"
        )
    if len(given) > 1:
        raise ConfigError(
            f"{' and '.join(given)} are given; a run takes one of them, and NAME=null leaves out an experiment's"
        )
    output = settings.required_output
    if settings.request_file is not None:
        return (load_request_file(settings.request_file, fields, _given(settings.request), settings.catalogue),), ()
    if settings.manifest is None:
        return (Request.from_dict(fields, settings.catalogue),), ()
    wrong = wrong_fields(fields, settings.catalogue)
    if wrong:
        # They are part of every entry, and none is to blame.
        raise RequestError("The command line has problems", [f"request.{reason}" for reason in wrong.values()])
    manifest = load_manifest(
        settings.manifest, fields, exclude=output, models=settings.catalogue, storage=settings.storage
    )
    if manifest.problems and (settings.on_invalid is OnInvalid.fail or not manifest.requests):
        raise invalid_entries(settings.manifest, manifest)
    if manifest.duplicates:
        entries = manifest.duplicates + len(manifest.requests) + len(manifest.invalid)
        _log.info("left out as repetitions of others: %d of the manifest's %d entries", manifest.duplicates, entries)
    return manifest.requests, manifest.invalid


def _given(request: RequestSettings) -> dict[str, Any]:
    """The request fields that the command line itself names, null too: those win over a file's."""
    names: set[str] = set()
    for override in given_overrides():
        value = override.value()
        if override.key_or_group == "request" and isinstance(value, Mapping):
            names.update(map(str, value))
        names.add(override.key_or_group.removeprefix("request."))
    # Beside a file it can only be null: an experiment's is taken back.
    names.discard("video_url")
    return {name: value for name, value in asdict(request).items() if name in names}
