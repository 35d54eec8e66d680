"""The middle step of a job: one segment through the pipeline."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from birefnet_batch.counted import Note
from birefnet_batch.engines.memory import TOO_LITTLE, is_out_of_memory
from birefnet_batch.errors import ElsewhereError, EngineMemoryError
from birefnet_batch.executors.base import Observer
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.workspace import Workspace
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.pipeline import process_segment
from birefnet_batch.process_tuning import address_space, give_freed_memory_back
from birefnet_batch.segment_task import SegmentRecord
from birefnet_batch.versions import kind_of_machine
from birefnet_batch.video import hardware
from birefnet_batch.video.formats import format_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentDone:
    """What came of a segment, for the last step."""

    segment: SegmentRecord
    engine: dict[str, Any]
    """What made it, for the job's record."""
    sha256: str | None
    """Digest of the source's content, from its first segment."""
    reproducible: bool = True
    """False after its batch had to be halved: where memory ran out may differ the next time."""
    machine: dict[str, Any] | None = None
    """The kind of machine that made it; None where that was not recorded."""
    run_id: str | None = None
    """The earlier run that did it, where it was not this one."""


def do_segment(engines: EngineCache, workspace: Workspace, plan: Plan, index: int, observer: Observer) -> SegmentDone:
    """Cut out one segment into parts.

    Raises:
        ElsewhereError: this machine has another checkpoint, file or encoder than the one where the job was begun.
        BirefnetBatchError: why it cannot be done.
    """
    job = plan.job
    spec, size = engines.model(job.request.model), job.request.size
    _same_weights(engines, spec, plan)
    _same_encoder(plan)
    path = workspace.path(job, plan.facts)
    # The whole file is hashed once, beside the work on its beginning.
    source = workspace.open(job, plan.facts) if index == 0 else None
    engine = engines.engine(spec, size)
    task = plan.task(index, path, workspace.parts(job))
    notes = [
        f"out of memory while the engine was opened with batches of {batch}: it has {engine.spec.batch_size}"
        for batch in engine.refused_batches[-1:]
    ]
    shown = _Shown(observer)
    with workspace.naming(job), _told(notes):
        while True:
            try:
                segment = process_segment(task, engine, shown.frames)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The error itself would keep what the segment held from being freed.
                reason = f"{error}{_limited()}"
            # Its stages' threads and their error hold each other.
            gc.collect()
            give_freed_memory_back()
            batch = engine.spec.batch_size
            smaller = engines.halve(spec, size)
            if smaller is None:
                raise EngineMemoryError(f"{reason}; {TOO_LITTLE}")
            engine = smaller
            shown.again()
            notes.append(
                f"out of memory with batches of {batch}: segment {index} was done again with {engine.spec.batch_size}"
            )
            _log.warning("%s: %s", job.display_uri, notes[-1])
        return SegmentDone(
            replace(segment, notes=(*segment.notes, *map(Note, (*engine.notes, *notes)))),
            engine.record(),
            source.sha256() if source is not None else None,
            reproducible=not notes,
            machine=kind_of_machine(),
        )


def _limited() -> str:
    limit = address_space()
    return "" if limit is None else f" (ulimit -v lets this process have {limit / 2**30:.1f} GiB)"


@contextmanager
def _told(notes: list[str]) -> Iterator[None]:
    """Add to an error what was noted before it, for the record of the job that fails."""
    try:
        yield
    except Exception as error:
        for note in notes:
            error.add_note(note)
        raise


def _same_weights(engines: EngineCache, spec: ModelSpec, plan: Plan) -> None:
    """See that this machine's checkpoint is the one that the job's key and record name."""
    assert plan.record.model is not None
    here, there = engines.weights(spec).sha256, plan.record.model.weights_sha256
    if here != there:
        raise ElsewhereError(
            f"{spec.name} on {socket.gethostname()} is another checkpoint (sha256 {here[:12]}) than where "
            f"{plan.job.display_uri} was begun ({there[:12]}); give all machines the same one, as "
            f"weights.{spec.short_name}=FILE or weights.{spec.short_name}=OWNER/NAME@REVISION"
        )


def _same_encoder(plan: Plan) -> None:
    """See that the encoder that was chosen for the whole job works here, where it is a card's."""
    form, encoder = format_of(plan.whole.encode.output_type), plan.whole.encode.encoder
    if encoder != form.encoder and (trouble := hardware.why_not(encoder)) is not None:
        raise ElsewhereError(
            f"{plan.job.display_uri} was begun with {encoder}, which does not work on {socket.gethostname()}: "
            f"{trouble}; give media.hardware=off, or add a machine that has it"
        )


class _Shown:
    """Takes back what it reported when a segment is done again."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._count = 0

    def frames(self, count: int) -> None:
        self._count += count
        self._observer.frames(count)

    def again(self) -> None:
        self._observer.frames(-self._count)
        self._count = 0
