"""A job's segments that are done already, by a run that ended before the job did or by an attempt that was lost."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from birefnet_batch.digests import file_sha256
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.refusals import named_reason
from birefnet_batch.results import OF_EARLIER_RUN
from birefnet_batch.settings import Resume
from birefnet_batch.storage.finished_parts import record_names, seal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Record:
    """A file beside the parts of a segment."""

    made_for: dict[str, Any]
    """All that decides the parts' bytes."""
    run_id: str
    sha256: dict[str, str]
    """Digests of the parts, by file name."""
    done: SegmentDone


_RECORDS: TypeAdapter[_Record] = TypeAdapter(_Record)


def keep(context: RunContext, plan: Plan, done: SegmentDone) -> list[Path]:
    """Record that a segment is done, so that no later run needs to do it again.

    Returns:
        The parts and, last, the record: nothing where the video is one segment, which is published as it is done.

    Raises:
        OSError: the record cannot be written.
    """
    parts = list(done.segment.parts.values())
    if len(plan.segments) == 1:
        return parts
    digests = {part.name: file_sha256(part) for part in parts}
    # By name: whoever finds the record finds them beside it, and a folder's name may be none that JSON takes.
    named = replace(done.segment, parts={kind: Path(part.name) for kind, part in done.segment.parts.items()})
    record = _Record(_made_for(plan), context.run_id, digests, replace(done, segment=named))
    content = _RECORDS.dump_json(record, indent=2)
    return [*parts, seal(parts[0].parent, done.segment.index, parts, content)]


def find(
    context: RunContext, plan: Plan, folder: Path, elsewhere: Collection[str] | None = None
) -> dict[int, SegmentDone]:
    """The segments of a job that need not be done again, by index.

    Args:
        context: the run; with `resume=force` its own count alone, and records of others are removed.
        plan: the job as it is to be done now: what was made for other settings, libraries or sources does not count.
        folder: the job's, with records.
        elsewhere: the names of the parts where these are in another place; by default they are in the folder too, and
            are compared with their digests.
    """
    found: dict[int, SegmentDone] = {}
    if len(plan.segments) == 1:
        return found
    for name in record_names(path.name for path in folder.iterdir()):
        try:
            record = _RECORDS.validate_json((folder / name).read_bytes())
            if context.settings.resume is Resume.force and record.run_id != context.run_id:
                # A run after this one would join them with this one's, as if they were of the same source.
                (folder / name).unlink(missing_ok=True)
                continue
            index = record.done.segment.index
            task = plan.task(index, plan.whole.source, folder)
            parts = {kind: task.part(kind) for kind in task.kinds}
            whole = set(record.sha256) == {part.name for part in parts.values()} and (
                all(file_sha256(part) == record.sha256[part.name] for part in parts.values())
                if elsewhere is None
                else set(record.sha256).issubset(elsewhere)
            )
        except (ValidationError, OSError, IndexError) as error:
            known = (name, plan.job.display_uri, _trouble(error))
            _log.warning("%s of %s cannot be used, its segment is done again: %s", *known)
            continue
        if whole and record.made_for == _made_for(plan):
            earlier = record.run_id if record.run_id != context.run_id else None
            segment = replace(record.done.segment, parts=parts)
            found[index] = replace(record.done, segment=segment, run_id=earlier)
    return found


def own_frames(done: Sequence[SegmentDone]) -> int:
    """The frames of those segments that this run did."""
    return sum(item.segment.frames for item in done if item.run_id is None)


def notes(done: Sequence[SegmentDone]) -> list[str]:
    """What a job's record says of segments that earlier runs did."""
    runs = [item.run_id for item in done if item.run_id is not None]
    return [
        f"{runs.count(run)} of the {len(done)} {OF_EARLIER_RUN} {run}, which ended before the video was done"
        for run in dict.fromkeys(runs)
    ]


def _trouble(error: Exception) -> str:
    """Why a record is of no use, in one line."""
    if isinstance(error, OSError):
        return named_reason(error)
    if isinstance(error, IndexError):
        return "the video has no such segment now"
    return "it is of another version of birefnet-batch, or damaged"


def _made_for(plan: Plan) -> dict[str, Any]:
    return {"key": plan.record.key, "engine": plan.record.engine, "versions": plan.record.versions}
