"""A plan's compilation takes minutes: a line now and then about it, and its end before the time."""

from __future__ import annotations

import logging
import threading
import time
from functools import cache
from typing import Any

from birefnet_batch.engines.tensorrt_module import TensorRT

_log = logging.getLogger(__name__)
EVERY_S = 10.0


@cache
def _monitor(module: Any) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        """Told of the builder's phases, which have steps and phases in them, from any of its threads."""

        def __init__(self, name: str) -> None:
            module.IProgressMonitor.__init__(self)
            self._name = name
            self._phases: dict[str, list[int]] = {}
            self._lock = threading.Lock()
            self._began = self._told = time.monotonic()
            self._stopped = False

        def stop(self) -> None:
            """Have the builder give up at its next step."""
            self._stopped = True
            if self._phases:
                _log.info("%s gives up when its step ends, which takes seconds", self._name)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases[phase_name] = [0, num_steps]

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                if phase_name in self._phases:
                    self._phases[phase_name][0] = step + 1
                now = time.monotonic()
                due = now - self._told >= EVERY_S
                if due:
                    self._told = now
                    at = ", ".join(f"{name} {done} of {steps}" for name, (done, steps) in self._phases.items())
                    _log.info("%s compiles since %.0f s: %s", self._name, now - self._began, at)
            return not self._stopped

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._phases.pop(phase_name, None)

    return Monitor


def make_monitor(library: TensorRT) -> Any:
    """What a builder's configuration takes as `progress_monitor`; it must live as long as the builder."""
    return _monitor(library.module)(library.name)
