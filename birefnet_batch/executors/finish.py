"""The last step of a job: the parts of its segments become files with final names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from birefnet_batch.counted import summed_notes
from birefnet_batch.errors import OutputError, WorkerLostError
from birefnet_batch.executors import finished_segments
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.ledger import Ledger
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.executors.workspace import Workspace
from birefnet_batch.pipeline import join
from birefnet_batch.publish import Media, publish
from birefnet_batch.results import REASONS, read_record, utc_now
from birefnet_batch.versions import kind_of_machine
from birefnet_batch.video.damage import check_share
from birefnet_batch.video.encode import Kind
from birefnet_batch.video.info import VideoInfo

# By less a container's rounding, or sound that goes on, can differ.
_MISSING_S, _MISSING_SHARE = Fraction(1), Fraction(1, 20)


def finish(context: RunContext, workspace: Workspace, plan: Plan, done: Sequence[SegmentDone]) -> JobOutcome:
    """Join, publish and remove what is needed no more.

    Args:
        context: the run.
        workspace: this worker's files.
        plan: the job.
        done: its segments, in order.

    Raises:
        BirefnetBatchError: the source changed meanwhile, parts are gone or not whole, or a file cannot be written.
    """
    # A worker that was given up, and lives, may be writing its own.
    own = secrets.token_hex(4)
    staged = {kind: context.output.staged(f"{plan.job.job_id}.{kind}-{own}") for kind in plan.whole.kinds}
    try:
        return _finish(context, workspace, plan, done, staged)
    finally:
        # What was not published is of no use, and no further try takes its place.
        for path in staged.values():
            with suppress(OSError):
                path.unlink()


def _finish(
    context: RunContext, workspace: Workspace, plan: Plan, done: Sequence[SegmentDone], staged: dict[Kind, Path]
) -> JobOutcome:
    """See `finish`; media are written to `staged` first."""
    job, settings = plan.job, context.settings.media
    ledger = Ledger(plan.record)
    source, folder = workspace.path(job, plan.facts), workspace.parts(job)
    tasks = [plan.task(index, source, folder) for index in range(len(plan.segments))]
    frames = sum(item.segment.frames for item in done)
    corrupt = sum(item.segment.corrupt_frames for item in done)
    # Segments are not judged by their share; what is concealed is among the frames already, where the file lists them.
    check_share(job.display_uri, corrupt, plan.whole.info.frames or frames + corrupt)
    seconds: dict[str, float] = {}
    notes = [
        *plan.record.notes,
        *finished_segments.notes(done),
        *summed_notes(note for item in done for note in item.segment.notes),
    ]
    for item in done:
        for stage, busy in item.segment.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + busy
    for part in (task.part(kind) for task in tasks for kind in task.kinds):
        # The joining process would be said to have died of the video.
        if not part.exists():
            raise WorkerLostError(f"{part} is gone: something removed scratch space while {job.display_uri} was made")
    made: list[Media] = []
    end = max(item.segment.end for item in done)
    for kind in plan.whole.kinds:
        started = time.perf_counter()
        with workspace.naming(job):
            facts = join(
                tasks,
                kind,
                staged[kind],
                end=end,
                audio=settings.audio,
                timeout_s=settings.decode_timeout_s,
            )
        if facts.frames != frames:
            raise OutputError(
                f"The {kind} of {job.display_uri} has {facts.frames} frames where its segments had {frames}: parts "
                "of it were lost or damaged on the way; run it again, which makes them anew"
            )
        made.append(Media.from_join(kind, job, plan.whole.encode, staged[kind], facts))
        notes += facts.notes
        if kind == "video":
            notes += _ends_early(plan.whole.info, end)
        seconds["join"] = seconds.get("join", 0.0) + time.perf_counter() - started
    # Only now: what is published was made of one version of the source.
    workspace.leave(job, plan.facts, shared=len(plan.segments) > 1)
    ledger.found(
        frames=frames,
        corrupt_frames=corrupt,
        sha256=done[0].sha256,
    )
    machine = kind_of_machine()
    ledger.note(
        status="succeeded",
        engine=done[-1].engine,
        reproducible=all(item.reproducible for item in done) and _is_of_one_kind(done, machine),
        timings={
            **{stage: round(busy, 3) for stage, busy in seconds.items()},
            "total": round(ledger.seconds, 3),
        },
        notes=list(dict.fromkeys([*notes, *_other_makers(done, machine)])),
        finished=utc_now(),
    )
    result = publish(context.output, job, ledger.record, made)
    workspace.drop(job)
    return JobOutcome(
        job,
        "succeeded",
        frames=finished_segments.own_frames(done),
        seconds=ledger.seconds,
        result=result.to_dict(),
    )


def published(context: RunContext, workspace: Workspace, plan: Plan, done: Sequence[SegmentDone]) -> JobOutcome | None:
    """The outcome of a job that a worker of this run published before it was lost; None where none did.

    Args:
        context: the run.
        workspace: this worker's files.
        plan: the job.
        done: its segments.

    Raises:
        OutputError: the output cannot be read.
    """
    job, output, key = plan.job, context.output, plan.record.key
    assert key is not None
    if not job.is_complete(output.list(job.folder), key):
        return None
    record = read_record(output.store, job.job_id)
    # An earlier run's is there for as long as nothing takes its place.
    if record is None or record.run_id != context.run_id:
        return None
    workspace.drop(job)
    frames = finished_segments.own_frames(done)
    return JobOutcome(job, "succeeded", frames=frames, seconds=Ledger(plan.record).seconds)


def _is_of_one_kind(done: Sequence[SegmentDone], machine: dict[str, Any]) -> bool:
    """Whether the record's engine, the last segment's, and its machine, this one, are those of all segments."""

    def engine(item: SegmentDone) -> dict[str, Any]:
        return {name: value for name, value in item.engine.items() if name not in REASONS}

    return all(item.machine == machine and engine(item) == engine(done[-1]) for item in done)


def _other_makers(done: Sequence[SegmentDone], machine: dict[str, Any]) -> list[str]:
    """What is said of segments that another engine, device or kind of machine made than the record's.

    Args:
        done: the segments, of which the last one's engine is the record's.
        machine: the kind of the record's.
    """

    def engine(item: SegmentDone) -> str:
        names = ("family", "library", "provider", "version", "device_name", "device", "precision")
        return " ".join(str(item.engine[name]) for name in names if name in item.engine)

    def makers(item: SegmentDone) -> Iterator[str]:
        if engine(item) != engine(done[-1]):
            yield f"by another engine, {engine(item)}"
        if item.machine is None:
            yield "on a machine that is not recorded"
        elif item.machine != machine:
            other = (f"{name} {value}" for name, value in item.machine.items() if value != machine.get(name))
            yield f"on another machine, {', '.join(other)}"

    made: dict[str, list[str]] = {}
    for item in done:
        for maker in makers(item):
            made.setdefault(maker, []).append(str(item.segment.index))
    return [f"made {maker}: segment {', '.join(numbers)}" for maker, numbers in made.items()]


def _ends_early(info: VideoInfo, end: int) -> list[str]:
    """What is said of a file that goes on for longer than its pictures; of some kinds nothing else tells a cut one.

    Args:
        info: what the file says.
        end: when its last frame ends, in ticks.
    """
    # Matroska says when it ends on a clock that need not begin at 0; a longer time at most leaves the note out.
    seconds = end * info.time_base + max(Fraction(0), info.origin)
    if info.duration is None or info.duration - seconds <= max(_MISSING_S, _MISSING_SHARE * info.duration):
        return []
    return [
        f"the file says that it lasts {float(info.duration):.1f} s, and its pictures end after {float(seconds):.1f} s: "
        "it may not be complete"
    ]
