"""Segments that are done, as files: their parts beside a record that is written last, and how a later run gets them.

A folder of parts has a folder for each job. Of a segment with a record everything is whole; all else there is of no
use to anybody once the run is dead.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from birefnet_batch.storage.durable import sync, write_whole

_NAME = re.compile(r"([a-z]+)-(\d{5,})\.(part|json)")


def part_name(kind: str, index: int) -> str:
    """The file of a segment's video or mask."""
    return f"{kind}-{index:05d}.part"


def record_name(index: int) -> str:
    """The file that says that a segment is done."""
    return f"segment-{index:05d}.json"


def finished_names(names: Iterable[str]) -> list[str]:
    """Of the files in a job's folder those of finished segments, records after all parts."""
    found = [match for match in map(_NAME.fullmatch, names) if match is not None]
    records = {match[2]: match[0] for match in found if match[0] == f"segment-{match[2]}.json"}
    parts = [match[0] for match in found if match[3] == "part" and match[2] in records]
    return [*sorted(parts), *sorted(records.values())]


def record_names(names: Iterable[str]) -> list[str]:
    """Of the files in a job's folder the records."""
    return [name for name in finished_names(names) if name.endswith(".json")]


def seal(folder: Path, index: int, parts: Iterable[Path], content: bytes) -> Path:
    """Record that a segment is done; whoever finds the record, after whatever end of the machine, finds the parts.

    Args:
        folder: the job's.
        index: which segment.
        parts: its files.
        content: the record's.

    Raises:
        OSError: the place is full or cannot be written.
    """
    for part in parts:
        sync(part)
    record = folder / record_name(index)
    write_whole(record, content)
    return record


def move_finished(source: Path, target: Path) -> None:
    """Move finished segments from a dead run's folder of parts to another on the same file system.

    A worker of the dead run that still lives is not disturbed: it writes only what has no record yet.

    Raises:
        OSError: they cannot be moved.
    """
    for job in _folders(source):
        for name in finished_names(_names(job)):
            (target / job.name).mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                (job / name).replace(target / job.name / name)


def keep_finished(folder: Path) -> int:
    """Remove all from a folder of parts but finished segments, and say how many these are."""
    count = 0
    for job in _folders(folder):
        kept = set(finished_names(_names(job)))
        for path in job.iterdir():
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not kept:
            shutil.rmtree(job, ignore_errors=True)
        count += len(record_names(kept))
    return count


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
