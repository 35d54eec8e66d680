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
        quota, period, *_ = [*_words(group / "cpu.max"), "", ""]
        if not quota:
            quota, period, *_ = [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us"), "", ""]
        # Unbounded it is `max`, and in version 1 -1.
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            found.append(int(quota) / int(period))
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
        inside = [] if ".." in path.parts else [path, *path.parents]
        for base in bases:
            yield from (base / part for part in inside or [PurePosixPath()])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
