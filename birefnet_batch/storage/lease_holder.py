"""Who holds an output: which run of which process, and whether that may still be at work."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

EXPIRE_S = 120.0


@dataclass(frozen=True)
class Holder:
    """Who holds an output."""

    run_id: str
    user: str
    host: str
    pid: int
    world: str
    """Where the process number means anything: the running kernel and its process namespace; may be empty."""
    born: str
    """When the process started, in the kernel's ticks: a later process may have its number."""
    since: str
    """UTC, ISO 8601."""
    renewed: str
    """UTC, ISO 8601."""

    @property
    def is_expired(self) -> bool:
        """Whether the last sign of life is so long ago that others may take the output."""
        return datetime.now(UTC) - datetime.fromisoformat(self.renewed) > timedelta(seconds=EXPIRE_S)

    @property
    def is_alive(self) -> bool:
        """Whether the holder may still be at work."""
        if self.is_expired:
            return False
        if not self.world or self.world != _world():
            return True
        return _born(self.pid) == self.born or _is_hidden(self.pid)

    @property
    def is_of_this_kernel(self) -> bool:
        """Whether it is a process of the running kernel, in whatever container."""
        return bool(self.world) and self.world.partition(" ")[0] == _world().partition(" ")[0]

    @property
    def shown(self) -> str:
        """Who and since when, for people."""
        since = datetime.fromisoformat(self.since)
        return (
            f"run {self.run_id} of {self.user} on {self.host} (process {self.pid}) "
            f"since {since.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        )


def this_process(run_id: str) -> Holder:
    """This process, as the holder of an output from now on."""
    since, pid = this_moment(), os.getpid()
    return Holder(run_id, _user(), socket.gethostname(), pid, _world(), _born(pid), since, since)


def this_moment() -> str:
    """UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _world() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_hidden(pid: int) -> bool:
    """Whether a process is there of which only its user may know more (`hidepid`, on machines that many log in to)."""
    if os.path.exists(f"/proc/{pid}/stat"):  # noqa: PTH110  Path.exists raises where it is hidden
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError, TypeError):
        pass
    return False


def _born(pid: int) -> str:
    """When a process started; empty where there is none of that number, or only what is left of a dead one."""
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
