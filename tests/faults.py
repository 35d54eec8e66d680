"""What goes wrong inside Ray's worker processes, for tests: real deaths, chosen by a video's name.

A video `kill_once...` kills its worker at its third frame, once; `segfault_always...` whoever touches it. `wait...` and
`slow...` take long, `meet...` as long as it takes until several workers are at it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trivial import TrivialEngine

from birefnet_batch.errors import EngineError

FOLDER = "BIREFNET_FAULTS"


def kill() -> None:
    """As the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    """As a codec does."""
    ctypes.string_at(0)


def eat() -> None:
    """Ask for more memory than there is."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), resource.RLIM_INFINITY))
    torch.ones(1 << 33)


def starve() -> None:
    """Have no room for further memory, threads or libraries, as where all of a container's are used up."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def wait() -> None:
    """Take long: until the file `go` is there."""
    while not (Path(os.environ[FOLDER]) / "go").exists():
        time.sleep(0.05)


def dawdle() -> None:
    """A tenth of a second a frame."""
    time.sleep(0.1)


def meet() -> None:
    """Wait until as many processes as the file `meet` says have begun a segment of the video."""
    file = Path(os.environ[FOLDER]) / "meet"
    end = time.monotonic() + 60
    while file.exists() and time.monotonic() < end:
        log = next(file.parent.glob("meet*.log"))
        if len({line.split()[0] for line in log.read_text().splitlines()}) >= int(file.read_text()):
            return
        time.sleep(0.05)


FAULTS: dict[str, Callable[[], None]] = {
    "kill": kill,
    "segfault": segfault,
    "eat": eat,
    "starve": starve,
    "wait": wait,
    "slow": dawdle,
    "meet": meet,
}


class _Watched:
    def __init__(self, observer: Any, name: str) -> None:
        self._observer = observer
        self._name = name
        self._count = 0
        self._happened = False

    def length(self, frames: int | None) -> None:
        self._observer.length(frames)

    def frames(self, count: int) -> None:
        self._observer.frames(count)
        self._count += count
        fault, _, when = self._name.partition("_")
        if self._count < 3 or fault not in FAULTS or (self._happened and fault != "slow"):
            return
        self._happened = True
        if when.startswith("once"):
            try:
                (Path(os.environ[FOLDER]) / f"{self._name}.happened").touch(exist_ok=False)
            except FileExistsError:
                return
        FAULTS[fault]()


def install() -> None:
    """Run by Ray in each of its worker processes."""
    from birefnet_batch import engines
    from birefnet_batch.executors import ray_worker
    from birefnet_batch.uris import local_path

    do_segment = ray_worker.do_segment

    def faulty(engines: Any, workspace: Any, plan: Any, index: int, observer: Any) -> Any:
        name = local_path(plan.job.uri).stem
        with (Path(os.environ[FOLDER]) / f"{name}.log").open("a") as log:
            log.write(f"{os.getpid()} {index}\n")
        return do_segment(engines, workspace, plan, index, _Watched(observer, name))

    ray_worker.do_segment = faulty
    engines.open_engine = open_trivial  # type: ignore[assignment]


def _on_a_broken_machine() -> bool:
    """Whether the file `broken` says that only machines with the resource `whole` can open an engine."""
    if not (Path(os.environ[FOLDER]) / "broken").exists():
        return False
    import ray

    here = ray.get_runtime_context().get_node_id()
    return not any("whole" in node["Resources"] for node in ray.nodes() if node["NodeID"] == here)


def open_trivial(name: str, *, width: int, height: int, **_: Any) -> TrivialEngine:
    """Instead of `open_engine`."""
    if FOLDER in os.environ and _on_a_broken_machine():
        raise EngineError("a library is missing here")
    return TrivialEngine(width, height)
