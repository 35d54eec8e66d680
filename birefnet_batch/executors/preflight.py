"""What all videos of a run need of the machine that does them, looked at before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from birefnet_batch.engines.required import require_asked
from birefnet_batch.errors import BirefnetBatchError, ProblemsError
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.workspace import has_source
from birefnet_batch.jobs import Job
from birefnet_batch.settings import Settings
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.hardware import encoder_of

_T = TypeVar("_T")


def open_first(settings: Settings, jobs: Sequence[Job], engines: EngineCache) -> None:
    """Make sure that this machine can do a video of these: otherwise each would fail by itself, for the same reason.

    What only some of them need (the weights of one model of several) costs these alone. Videos that are not there need
    nothing: nobody waits for weights to hear of a misspelt path.

    Args:
        settings: the run's.
        jobs: what is to be done here.
        engines: of these settings; the first engine that one of the jobs needs and that can be had is open in it then.

    Raises:
        ConfigError: none of their types has the encoder that is required; ProblemsError where there are several
            reasons for that, or for the last one.
        EngineError: the engine that was asked for cannot be had.
        BirefnetBatchError: no engine opens, for the weights are missing or no use, or for want of a place or memory.
    """
    _require(settings, jobs)
    wanted = ((job.request.model, job.request.size) for job in _with_source(jobs, settings))
    _one_of(wanted, lambda engine: engines.engine(engines.model(engine[0]), engine[1]))


def judge_weights(settings: Settings, jobs: Sequence[Job], engines: EngineCache) -> None:
    """Do the same where engines open in other processes: of weights their header is looked at.

    Args and errors are those of `open_first`.
    """
    from birefnet_batch.models.checkpoint import check_header

    def judge(name: str) -> None:
        spec = engines.model(name)
        check_header(engines.weights(spec).path, spec)

    _require(settings, jobs)
    _one_of((job.request.model for job in _with_source(jobs, settings)), judge)


def _require(settings: Settings, jobs: Iterable[Job]) -> None:
    types = (job.request.video_output_type for job in jobs)
    _one_of(types, lambda name: encoder_of(format_of(name), settings.media))
    require_asked(settings.engine)


def _with_source(jobs: Iterable[Job], settings: Settings) -> Iterator[Job]:
    return (job for job in jobs if has_source(job, settings.storage))


def _one_of(names: Iterable[_T], check: Callable[[_T], object]) -> None:
    """Make sure that one of them, if there is any, can be had; none after that is looked at."""
    refusals: list[BirefnetBatchError] = []
    seen: set[_T] = set()
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        try:
            check(name)
        except BirefnetBatchError as error:
            refusals.append(error)
        else:
            return
    told = list(dict.fromkeys(map(str, refusals)))
    if not told:
        return
    raise refusals[0] if len(told) == 1 else ProblemsError("No video that is left can be done", told)
