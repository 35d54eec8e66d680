"""How many frames a batch should have under a memory budget: measured once for a machine, kept in the store."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from birefnet_batch.engines.made_here import made_here
from birefnet_batch.engines.measured_once import measured_once
from birefnet_batch.engines.memory import is_out_of_memory, peak_bytes
from birefnet_batch.errors import EngineError, EngineMemoryError

_log = logging.getLogger(__name__)
_LARGEST = 64
# A larger batch is taken for what it gains in time, not for noise.
_GAIN = 0.97
# Free memory differs a little from day to day.
_MORE = 1.25


@dataclass(frozen=True)
class Measured:
    """What one batch size costs."""

    batch: int
    peak_bytes: int
    """Memory of the whole process: of the GPU where the engine is on one, else of the machine."""
    frame_seconds: float


Measure = Callable[[int], Measured]


def probed_batch(
    root: Path, identity: Mapping[str, Any], budget_bytes: int, measure: Measure, free_bytes: int = 0
) -> int:
    """The batch size that is quickest a frame among those that fit: 1, 2, 4 and so on, up to what does not fit.

    What ended for want of memory within the budget, as beside engines of others, is measured again where more is free.

    Args:
        root: the engine store's folder.
        identity: all that the answer depends on.
        budget_bytes: memory that the engine's process may take.
        measure: tries one size; raises EngineMemoryError where it does not fit at all.
        free_bytes: the device's free memory now; 0 where it is not known.

    Raises:
        EngineError: a single frame does not fit.
    """
    text = json.dumps({**identity, "budget": budget_bytes}, sort_keys=True, default=str)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]

    def tried() -> dict[str, Any]:
        found, out_of_memory = _try(budget_bytes, measure)
        best = min(found, key=lambda one: one.frame_seconds)
        _log.info("batches of %s: %d (%.2f GiB)", identity.get("model"), best.batch, best.peak_bytes / 2**30)
        return {
            "batch": best.batch,
            "identity": dict(identity),
            "tried": [asdict(one) for one in found],
            "free_bytes": free_bytes if out_of_memory else None,
        }

    def read(facts: Mapping[str, Any]) -> int:
        if facts.get("free_bytes") and free_bytes / _MORE > facts["free_bytes"]:
            raise ValueError("more memory is free than when it ended the trial")
        batch = facts["batch"]
        if type(batch) is not int or not 1 <= batch <= _LARGEST:
            raise ValueError(f"a batch of {batch} is none that is tried")
        return batch

    what = f"batch size of {identity.get('model')}"
    try:
        batch = measured_once(root, "batch", name, what, read, tried)
    except OSError as error:
        # A store that cannot be written is no reason to do without an engine that needs none.
        _log.info("the %s is measured and not kept: %s", what, error)
        return int(tried()["batch"])
    assert batch is not None
    return batch


def _try(budget_bytes: int, measure: Measure) -> tuple[list[Measured], bool]:
    """What was measured, and whether memory that ran out ended it."""
    tried: list[Measured] = []
    batch = 1
    while batch <= _LARGEST:
        try:
            found = measure(batch)
        except EngineMemoryError as error:
            if batch == 1:
                raise EngineError(f"a single frame does not fit in memory: {error}") from None
            return tried, True
        if found.peak_bytes > budget_bytes:
            if batch == 1:
                raise EngineError(
                    f"a single frame takes {found.peak_bytes / 2**30:.2f} GiB, more than engine.memory_gib="
                    f"{budget_bytes / 2**30:.3g}; raise it, or give a smaller operating_resolution"
                )
            break
        slower = bool(tried) and found.frame_seconds > _GAIN * tried[-1].frame_seconds
        if slower:
            break
        tried.append(found)
        batch *= 2
    return tried, False


def measure_in_child(arguments: Mapping[str, Any], batch: int) -> Measured:
    """Open an engine in a process of its own, run two batches, and end it: its peak is the engine's.

    One that builds or measures something first (an ONNX file and its check by torch, a plan, what half precision costs)
    is followed by another that finds it.

    Args:
        arguments: of `open_engine`, without the batch size.
        batch: frames.

    Raises:
        EngineMemoryError: it does not fit, or the system ended the process.
    """
    try:
        found, prepared = _in_child(arguments, batch)
        return _in_child(arguments, batch)[0] if prepared else found
    except BrokenProcessPool:
        raise EngineMemoryError(
            f"the process that tried batches of {batch} was ended by the system, or did not start (it imports a script "
            "that begins a run anew: there the call belongs below if __name__ == '__main__')"
        ) from None


def _in_child(arguments: Mapping[str, Any], batch: int) -> tuple[Measured, bool]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, dict(arguments), batch, free_bytes(arguments)).result()


def free_bytes(arguments: Mapping[str, Any]) -> int:
    """The GPU's free memory; 0 where none is used.

    Asked here: in the process that is measured the question itself takes what CUDA needs for a process, some 0.5 GiB.
    """
    import torch

    if arguments.get("device") == "cpu" or not torch.cuda.is_available():
        return 0
    return torch.cuda.mem_get_info()[0]


def _measure(arguments: dict[str, Any], batch: int, free_before: int) -> tuple[Measured, bool]:
    """What it costs, and whether something was built or measured for it that the next process finds."""
    import torch

    from birefnet_batch.engines.selection import open_engine

    before = made_here.total()
    try:
        with open_engine(**arguments, batch_size=batch) as engine:
            images = torch.zeros(batch, 3, engine.spec.height, engine.spec.width, device=engine.device)
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                engine.infer(images).cpu()
                seconds.append(time.perf_counter() - started)
            on_gpu = engine.spec.device == "cuda"
            # torch keeps what it freed, and the others hold theirs as long as they are open.
            peak = free_before - torch.cuda.mem_get_info()[0] if on_gpu else peak_bytes()
    except Exception as error:
        if is_out_of_memory(error):
            raise EngineMemoryError(str(error)) from None
        raise
    return Measured(batch, peak, min(seconds) / batch), made_here.total() > before
