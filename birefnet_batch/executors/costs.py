"""What work costs before it was tried: guesses whose proportions matter, soon outweighed by what is measured."""

from __future__ import annotations

import os

from birefnet_batch.executors.units import EngineKey
from birefnet_batch.jobs import Job
from birefnet_batch.models.registry import Catalogue
from birefnet_batch.uris import is_local, local_name

# GFLOP of one frame at 1024x1024, counted; the demo network's is of the order.
_GFLOP = {"swin_v1_l": 2451.0, "swin_v1_t": 634.0, "demo": 30.0}
_GFLOP_PER_S = 20_000.0
_CPU_SLOWNESS = 100.0
_FRAME_S = 0.01
_BYTES_PER_FRAME = 20_000.0
_UNKNOWN_FRAMES = 500.0


def engine_of(job: Job, precision: str, models: Catalogue) -> EngineKey:
    """The engine that a job needs."""
    return (models.find(job.request.model).short_name, *job.request.size, precision)


def guessed_pace(engine: EngineKey, models: Catalogue, device: str) -> float:
    """Seconds a frame, on cuda or cpu."""
    model, width, height, _ = engine
    pixels = width * height / (1024 * 1024)
    per_s = _GFLOP_PER_S / (_CPU_SLOWNESS if device == "cpu" else 1.0)
    return _FRAME_S + _GFLOP.get(models.find(model).network, 1000.0) * pixels / per_s


def guessed_frames(job: Job) -> float:
    """A video's length from its size; of a remote one nothing is known before it is begun."""
    if not is_local(job.uri):
        return _UNKNOWN_FRAMES
    try:
        return max(1.0, os.stat(local_name(job.uri)).st_size / _BYTES_PER_FRAME)  # noqa: PTH116  100,000 of them
    except (OSError, ValueError):
        return 1.0
