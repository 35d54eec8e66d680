"""What a container, a batch system or systemd lets this process have of its machine, by Linux's control groups.

Source: the kernel's admin-guide/cgroup-v2 (cpu.max, memory.max) and, of version 1, scheduler/sched-bwc and
admin-guide/cgroup-v1/memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

OWN = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def processor_share() -> float | None:
    """How many processors' time this process and those of its group may take; None where nothing bounds it."""
    found = []
    for group in _groups("cpu"):
        words = _words(group / "cpu.max") or [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(group / name)
        ]
        # Unbounded the quota is `max`, and in version 1 -1.
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
            quota, period = map(int, words)
            found.append(quota / period)
    return min(found, default=None)


def memory_share() -> int | None:
    """How many bytes of memory this process and those of its group may have; None where nothing bounds it."""
    limits = (
        word
        for group in _groups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for word in _words(group / name)
    )
    # Unbounded it is `max`, and in version 1 more than any machine has.
    return min((int(word) for word in limits if word.isdecimal()), default=None)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups that may bound the process: its own and all above it.

    Within a container those above, or its own by the name that the host has for it, need not be there: what the
    container sees at the root is its own.
    """
    try:
        lines = OWN.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            bases = [ROOT, ROOT / "unified"]
        elif controller in controllers.split(","):
            bases = [ROOT / controller]
        else:
            continue
        path = PurePosixPath(name.lstrip("/"))
        if ".." in path.parts:
            path = PurePosixPath()
        for base in bases:
            yield from (base / part for part in (path, *path.parents))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
