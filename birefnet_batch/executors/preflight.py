"""What all videos of a run need of the machine that does them, looked at before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from birefnet_batch.engines.required import require_asked
from birefnet_batch.errors import BirefnetBatchError, ProblemsError
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.jobs import Job
from birefnet_batch.settings import Settings
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.hardware import encoder_of


def preflight(settings: Settings, jobs: Sequence[Job]) -> None:
    """Make sure that this machine can do a video of these: otherwise each would fail by itself, for the same reason.

    What only some of them need (the weights of one model of several) costs these alone.

    Args:
        settings: the run's.
        jobs: what is to be done here.

    Raises:
        ConfigError: none of their types has the encoder that is required; ProblemsError where there are several
            reasons for that, or for the following one.
        EngineError: the engine that was asked for cannot be had.
        WeightsError: the weights of none of their models can.
    """
    types = (job.request.video_output_type for job in jobs)
    _one_of(types, lambda name: encoder_of(format_of(name), settings.media))
    require_asked(settings.engine)
    with EngineCache(settings) as engines:
        _one_of((job.request.model for job in jobs), lambda name: engines.weights(engines.model(name)))


def _one_of(names: Iterable[str], check: Callable[[str], object]) -> None:
    """Make sure that one of the names can be had; none after that is looked at."""
    refusals: list[BirefnetBatchError] = []
    for name in dict.fromkeys(names):
        try:
            check(name)
        except BirefnetBatchError as error:
            refusals.append(error)
        else:
            return
    raise refusals[0] if len(refusals) == 1 else ProblemsError("No video can be done", list(map(str, refusals)))
