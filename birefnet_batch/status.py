"""A run's state, read from its output at any time and from any machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.output_files import RUN, RUNS, run_file
from birefnet_batch.result_lines import RunLine, run_lines
from birefnet_batch.storage.lease import RENEW_S, holder_of, holders_of, may_live
from birefnet_batch.storage.lease_holder import Holder
from birefnet_batch.storage.stores import Store

_RUNNING = "running"


@dataclass(frozen=True)
class RunStatus:
    """How a run stands."""

    run_id: str
    state: str
    """running, finished, interrupted, failed, or died: it said running, and nobody holds the output for it."""
    started: str
    finished: str | None
    holder: str | None
    """Who works on it, for people."""
    counts: dict[str, int]
    """videos, succeeded, failed, skipped, remaining, invalid_entries."""
    frames: int
    elapsed_s: float
    """From its start to its end; of a running run to now, of a dead one to its last sign of life."""
    dead_after_s: float | None
    """A run that died was dead so many seconds after its start; None where that is not known."""
    frames_per_s: float
    videos_per_min: float
    seconds_left: float | None
    """An estimate of a running run; None where there is nothing to estimate from."""
    error: str | None = None
    """Why a failed run ended, where no video is at fault."""
    failures: list[dict[str, str]] = field(default_factory=list)
    """`input` and `error` of each failed video: its URI and the reason."""
    slowest: list[dict[str, Any]] = field(default_factory=list)
    """`input`, `seconds`, `frames` and `status` of the videos that took longest."""
    runs: list[str] = field(default_factory=list)
    """All runs of this output, oldest first."""


def read_status(store: Store, run_id: str | None = None, slowest: int = 5) -> RunStatus:
    """Read a run's state.

    Args:
        store: the output.
        run_id: which run; None is the latest.
        slowest: how many of the slowest videos to name.

    Raises:
        ConfigError: there is no such run, or the latest has only just taken the output.
        OutputError: the output cannot be read.
    """
    runs = store.folders_with(RUNS, RUN)
    if not runs:
        raise no_runs(store)
    if run_id is None:
        # What others left would be taken for it: for minutes, while it looks which of many videos are done already.
        begins = holder_of(store, besides=runs)
        if begins is not None:
            raise ConfigError(
                f"{begins.shown} is about to begin in {store.shown}; ask again in a moment, or give --run "
                f"{runs[-1]} for the one before"
            )
    run_id = run_id or runs[-1]
    if run_id not in runs:
        raise ConfigError(f"{store.shown} has no run {run_id!r}; its runs are {', '.join(runs[-10:])}")
    record = _json(store, run_file(run_id, RUN))
    lines = run_lines(store, run_id)
    holder = next((found for found in holders_of(store) if found.run_id == run_id), None)
    if holder is not None and not may_live(store, holder):
        record.setdefault("lease_renewed", holder.renewed)
        holder = None
    if holder is None and record.get("status") == _RUNNING:
        # One that ended while its lines were read said so before it gave its lease back.
        ended = _json(store, run_file(run_id, RUN))
        if ended.get("status") != _RUNNING:
            record, lines = ended, run_lines(store, run_id)
    return _status(run_id, runs, record, lines, holder, slowest)


def no_runs(store: Store) -> ConfigError:
    """The error of an output that no run has written to.

    Raises:
        OutputError: the output cannot be read.
    """
    holder = holder_of(store)
    if holder is not None:
        return ConfigError(f"{store.shown} has no runs yet: {holder.shown} is about to begin; ask again in a moment")
    reason = store.absence() or "give the output of a run (output=...)"
    return ConfigError(f"{store.shown} has no runs: {reason}")


def _status(
    run_id: str, runs: list[str], record: dict[str, Any], lines: list[RunLine], holder: Holder | None, slowest: int
) -> RunStatus:
    state = _text(record.get("status")) or "damaged"
    if state == _RUNNING and holder is None:
        state = "died"
    counts = {name: sum(line.status == name for line in lines) for name in ("succeeded", "failed", "skipped")}
    counted = record.get("counts")
    stated: dict[str, Any] = counted if isinstance(counted, dict) else {}
    videos = _whole(stated.get("videos"), len(lines))
    started = _text(record.get("started"))
    finished = _text(record.get("finished")) or None
    renewed = _text(record.get("lease_renewed"))
    last = max([renewed, *(line.finished for line in lines)], key=_moment)
    elapsed = _between(started, finished or ("" if state == _RUNNING else last or started))
    # Alive it would have renewed its lease again.
    dead_after = max(elapsed, _between(started, renewed) + RENEW_S) if state == "died" and renewed else None
    frames = sum(line.frames for line in lines)
    worked = counts["succeeded"] + counts["failed"]
    remaining = max(0, videos - len(lines))
    left = elapsed / worked * remaining if state == _RUNNING and worked and elapsed else None
    # Those that failed at once are none of the slowest, however few the others are.
    timed = (line for line in lines if round(line.seconds, 1) > 0)
    by_time = sorted(timed, key=lambda line: line.seconds, reverse=True)
    return RunStatus(
        run_id=run_id,
        state=state,
        started=started,
        finished=finished,
        holder=holder.shown if holder is not None else None,
        counts={
            "videos": videos,
            **counts,
            "remaining": remaining,
            "invalid_entries": _whole(stated.get("invalid_entries"), 0),
        },
        frames=frames,
        elapsed_s=round(elapsed, 1),
        dead_after_s=None if dead_after is None else round(dead_after, 1),
        frames_per_s=round(frames / elapsed, 2) if elapsed else 0.0,
        videos_per_min=round(worked / elapsed * 60, 2) if elapsed else 0.0,
        seconds_left=None if left is None else round(left, 1),
        error=_text(record.get("error")) or None,
        failures=[{"input": line.input, "error": line.error or ""} for line in lines if line.status == "failed"],
        slowest=[
            {"input": line.input, "seconds": line.seconds, "frames": line.frames, "status": line.status}
            for line in by_time[:slowest]
        ],
        runs=runs,
    )


def _between(started: str, ended: str) -> float:
    """Seconds from a start to an end, or to now where there is none; 0 where they cannot be read."""
    if not _moment(started):
        return 0.0
    until = _moment(ended) if ended else datetime.now(UTC).timestamp()
    return max(0.0, until - _moment(started))


def _moment(time: str) -> float:
    """Seconds since 1970; 0 where the time cannot be read. What names no zone is UTC, like all that we write."""
    try:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _json(store: Store, relative: str) -> dict[str, Any]:
    try:
        found = json.loads(store.get(relative) or b"")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
