"""Digests of files, remembered: by this process, and of large files in the user's cache folder too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from functools import cache
from pathlib import Path

from birefnet_batch.cache_folder import cache_folder
from birefnet_batch.storage.durable import named, write_whole

# A checkpoint takes seconds to hash and is hashed at every start; what is smaller takes less than the look-up saves.
_REMEMBERED_FROM = 16 * 1024 * 1024
# A file may change twice within one tick of its file system's clock, so what is younger is not remembered.
_SETTLED_AFTER_NS = 2_000_000_000


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with named(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Like `file_sha256`, computed again only when the file's size or time of change is another one.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    return _known(path, stat.st_size, stat.st_mtime_ns)


@cache
def _known(path: Path, size: int, mtime_ns: int) -> str:
    if size < _REMEMBERED_FROM:
        return file_sha256(path)
    facts = {"path": str(path.absolute()), "size": size, "mtime_ns": mtime_ns}
    known = _remembered(facts)
    if known is None:
        known = file_sha256(path)
        after = path.stat()
        unchanged = (after.st_size, after.st_mtime_ns) == (size, mtime_ns)
        if unchanged and time.time_ns() - mtime_ns > _SETTLED_AFTER_NS:
            _remember({**facts, "sha256": known})
    return known


def _note_of(path: object) -> Path:
    name = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder() / "digests" / f"{name}.json"


def _remembered(facts: dict[str, object]) -> str | None:
    try:
        data = json.loads(_note_of(facts["path"]).read_bytes())
    except (OSError, ValueError, RuntimeError):
        return None
    if not isinstance(data, dict) or {name: data.get(name) for name in facts} != facts:
        return None
    digest = data.get("sha256")
    return digest if isinstance(digest, str) and len(digest) == 64 else None


def _remember(data: dict[str, object]) -> None:
    """Write a note; where the cache folder cannot be written, do without."""
    with contextlib.suppress(OSError, RuntimeError):
        note = _note_of(data["path"])
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(data).encode())
