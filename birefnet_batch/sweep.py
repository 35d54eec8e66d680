"""What the jobs of a sweep are to each other: two that would write the same results are refused."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import MISSING, fields, replace

from omegaconf import DictConfig

from birefnet_batch.command_line import numbered
from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import Resume, Settings
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import user_path

Compose = Callable[[list[str], Callable[[DictConfig], None]], None]


def refuse_shared_results(jobs: Sequence[list[str]], compose: Compose) -> None:
    """Make sure that no job of a sweep writes over the results of another.

    A video's folder has its name of the request alone: jobs that differ in other settings need outputs of their own.

    Args:
        jobs: the arguments of each; one that cannot be composed has no results, and says why when it is its turn.
        compose: composes the configuration of some arguments and gives it to a function.

    Raises:
        ConfigError: two jobs have the same output and the same requests.
    """
    seen: dict[str, int] = {}
    for number, job in enumerate(jobs):
        place = _place(numbered(job, number), compose)
        if place is None:
            continue
        earlier = seen.setdefault(place, number)
        if earlier != number:
            keys = [word.partition("=")[0].lstrip("+~") for word in job if word not in jobs[earlier]]
            raise ConfigError(
                f"jobs {earlier + 1} and {number + 1} of the sweep would write the same results, for they differ in "
                f"{', '.join(keys) or 'nothing'}, which is no part of a request; give each job its own output, such as "
                f"output='results/x/{_reference(keys[0] if keys else 'engine.precision')}'"
            )


def beside_earlier_jobs(settings: Settings, outputs: Sequence[str]) -> Settings:
    """The settings of a sweep's job: with `resume=never` the results of its earlier jobs may be there.

    Args:
        settings: as they were given.
        outputs: where jobs of this sweep have written, as stores show it: nothing else is there, or they were refused.
    """
    from birefnet_batch.storage.stores import open_store

    if settings.resume is not Resume.never or settings.output is None or not outputs:
        return settings
    own = open_store(settings.output, settings.storage).shown in outputs
    return replace(settings, resume=Resume.auto) if own else settings


def _reference(key: str) -> str:
    """What has, in an output's name, the value of a setting or the name that was chosen from a group."""
    settings = {item.name for item in fields(Settings) if item.default is not MISSING}
    return f"${{{key}}}" if "." in key or key in settings else f"${{hydra:runtime.choices.{key}}}"


def _place(job: list[str], compose: Compose) -> str | None:
    """What decides the folders that a job writes."""
    places: list[str] = []

    def look(config: DictConfig) -> None:
        settings = Settings.from_config(config)
        output = settings.output
        if output is None:
            return
        if scheme_of(output) in BUCKET_SCHEMES:
            output = output.rstrip("/")
        else:
            output = os.path.normpath(user_path(output).absolute())
        places.append(repr((output, settings.request, settings.request_file, settings.manifest)))

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(Exception, SystemExit):
        compose(job, look)
    return places[0] if places else None
