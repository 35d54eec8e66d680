"""What was measured once on a machine, kept in the engine store as a small JSON record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from birefnet_batch.engines.build_lock import build_lock
from birefnet_batch.engines.made_here import made_here
from birefnet_batch.storage.durable import write_whole

T = TypeVar("T")


def measured_once(
    root: Path,
    kind: str,
    name: str,
    what: str,
    read: Callable[[Mapping[str, Any]], T],
    measure: Callable[[], Mapping[str, Any] | None],
) -> T | None:
    """The record `<root>/<kind>/<name>.json`, measured first where it is missing or cannot be read.

    Of several processes one measures and the others wait for it.

    Args:
        root: the engine store's folder.
        kind: a folder of it.
        name: a file name without its suffix that stands for all that the result depends on.
        what: is measured, for the log of those who wait.
        read: makes the result of a record, a JSON object; raises ValueError, KeyError or TypeError of one that is not
            whole, or that was not measured.
        measure: makes a record; None where nothing can be measured, which is not kept.

    Returns:
        The result; None where nothing could be measured.

    Raises:
        OSError: it is not there, and the store cannot be written.
    """
    path = root / kind / f"{name}.json"
    # Who may not write the store, and so not lock it, may still read what is there.
    with suppress(OSError, ValueError, KeyError, TypeError):
        return read(_record(path))
    with build_lock(root / ".locks" / f"{kind}-{name}.lock", what):
        with suppress(OSError, ValueError, KeyError, TypeError):
            return read(_record(path))
        found = measure()
        if found is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(found, indent=2, default=str) + "\n").encode())
        made_here["record"] += 1
        return read(found)


def _record(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
    if not isinstance(record, dict):
        raise TypeError(f"{path} holds no JSON object")
    return record
