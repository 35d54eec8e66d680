"""What a program gives `run`, looked at before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from birefnet_batch.errors import ConfigError, ProblemsError
from birefnet_batch.jobs import Job, distinct_jobs
from birefnet_batch.manifest_entries import InvalidEntry
from birefnet_batch.output_files import MANIFEST, RUN, RUNNING
from birefnet_batch.process_tuning import no_garbage
from birefnet_batch.request import Request
from birefnet_batch.settings import OnInvalid, Settings
from birefnet_batch.systems import no_system
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.look import media_problems

_NO_NAME = re.compile(r"[/\\\x00-\x1f]")
# With what a store adds while it writes; file systems take 255.
_LONGEST = 200


def check_settings(settings: Settings) -> None:
    """See that these are settings, whatever their values.

    Raises:
        ConfigError: they are not, or this system is none that we run on.
    """
    if reason := no_system():
        raise ConfigError(reason)
    if not isinstance(settings, Settings):
        raise ConfigError(
            f"settings is of the type {type(settings).__name__}; give Settings(...): run(settings, requests), or "
            "process_video(request, output=..., settings=settings)"
        )


def check_documents(documents: Mapping[str, str]) -> None:
    """See that the names of a run's documents are those of files in its folder, and of none that it writes itself.

    Raises:
        ConfigError: some are not.
    """
    given: Any = documents
    if not isinstance(given, Mapping) or not all(isinstance(text, str) for pair in given.items() for text in pair):
        raise ConfigError("documents is no mapping of texts to texts; give {'notes.txt': 'what it holds'}")
    problems = [
        f"{name!r} is no plain file name; give one without a folder, such as config.yaml"
        for name in documents
        if name.strip() in ("", ".", "..") or len(os.fsencode(name)) > _LONGEST or _NO_NAME.search(name)
    ] + [
        f"{name!r} is a file of the run's own; give another name"
        for name in documents
        if name.lower() in (MANIFEST, RUN, RUNNING)
    ]
    if problems:
        raise ProblemsError("The documents have problems", problems)


def requested_jobs(
    settings: Settings, requests: Iterable[Request | Mapping[str, Any]]
) -> tuple[list[Job], list[InvalidEntry]]:
    """The jobs of the requests, and which requests are left out because they are wrong.

    Raises:
        RequestError: the one request that is wrong has wrong arguments.
        InputError: its URL cannot be read, or differs from another's in nothing but its secrets.
        ConfigError: there are no requests, or several wrong ones.
    """
    if isinstance(requests, str | bytes | Request | Mapping) or not isinstance(requests, Iterable):
        raise ConfigError(
            f"requests is of the type {type(requests).__name__}; give a list of Requests or of the arguments of API "
            "calls, also for one: run(settings, [Request(video_url=...)])"
        )
    with no_garbage():
        jobs, errors = distinct_jobs(requests, settings.catalogue)
    refused = [
        InvalidEntry(place, error.problems if isinstance(error, ProblemsError) else (str(error),))
        for place, error in errors.items()
    ]
    if refused and (settings.on_invalid is OnInvalid.fail or not jobs):
        if len(refused) == 1:
            raise next(iter(errors.values()))
        problems = [f"{entry.place}: {reason}" for entry in refused for reason in entry.reasons]
        raise ProblemsError("The requests have problems", problems)
    if not jobs:
        raise ConfigError(
            "There is nothing to do, for `requests` is empty; give Requests: the manifest, request_file and request of "
            "the settings are read by the program alone"
        )
    return jobs, refused


def check_types(settings: Settings, jobs: Iterable[Job]) -> None:
    """See that the media settings and the output types go together; bad entries that are skipped fail by themselves.

    Raises:
        ConfigError: some do not.
    """
    if settings.on_invalid is OnInvalid.skip:
        return
    problems = []
    for output_type in dict.fromkeys(job.request.video_output_type for job in jobs):
        problems += media_problems(format_of(output_type), settings.media)
    if problems:
        raise ProblemsError("The settings have problems", problems)
