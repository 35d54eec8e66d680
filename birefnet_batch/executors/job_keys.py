"""A job's key, from its source and from the weights and the precision that its engine will have here."""

from __future__ import annotations

from typing import NamedTuple

from birefnet_batch.engines import resolve_precision
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.jobs import Job, job_key
from birefnet_batch.models.weights import WeightsFile
from birefnet_batch.settings import Settings


class FoundKey(NamedTuple):
    """A key, and what was found out for it."""

    key: str
    weights: WeightsFile
    precision: str
    """fp32, fp16 or bf16: what `auto` stands for here."""


def find_key(engines: EngineCache, settings: Settings, job: Job, fingerprint: str) -> FoundKey:
    """The key that the job's result will have, or that of a complete one must have.

    Raises:
        WeightsError: the model's checkpoint is not here and cannot be fetched.
        OSError: the file that stands behind the subject cannot be read.
    """
    weights = engines.weights(engines.model(job.request.model))
    precision = resolve_precision(settings.engine.precision.value, settings.engine.device_wish)
    return FoundKey(job_key(job, fingerprint, weights.sha256, precision, settings.media), weights, precision)
