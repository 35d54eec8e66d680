"""The middle step of a job: one segment through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from birefnet_batch.executors.base import Observer
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.workspace import Workspace
from birefnet_batch.models.registry import find_model
from birefnet_batch.pipeline import SegmentRecord, process_segment


@dataclass(frozen=True)
class SegmentDone:
    """What came of a segment, for the last step."""

    segment: SegmentRecord
    engine: dict[str, Any]
    """What made it, for the job's record."""
    sha256: str | None
    """Digest of the source's content, from its first segment."""


def do_segment(engines: EngineCache, workspace: Workspace, plan: Plan, index: int, observer: Observer) -> SegmentDone:
    """Cut out one segment into parts.

    Raises:
        BirefnetBatchError: why it cannot be done.
    """
    job = plan.job
    # The whole file is hashed once, beside the work on its beginning.
    source = workspace.open(job, plan.facts) if index == 0 else None
    path = source.path if source is not None else workspace.path(job, plan.facts)
    engine = engines.engine(find_model(job.request.model), job.request.size)
    with workspace.naming(job):
        segment = process_segment(plan.task(index, path, workspace.parts(job)), engine, observer.frames)
        return SegmentDone(segment, engine.describe(), source.sha256() if source is not None else None)
