"""How much memory a worker's open engines may take, and how much is in use."""

from __future__ import annotations

import os
from pathlib import Path

from birefnet_batch.process_tuning import usable_memory, usable_processors
from birefnet_batch.settings import Settings

_GIB = 1 << 30
# Of the device's memory: the rest is for frames and activations.
_SHARE = 0.5


def engine_budget(settings: Settings, device: str) -> float:
    """Bytes that the open engines of one worker may take together."""
    given = settings.executor.engine_memory_gib
    if given is not None:
        return given * _GIB
    if device == "cuda":
        import torch

        return float(_SHARE * min(1.0, settings.executor.gpus_per_worker) * torch.cuda.mem_get_info()[1])
    processors = usable_processors()
    part = min(1.0, (settings.engine.threads or processors) / processors)
    return _SHARE * part * usable_memory()


def memory_in_use(settings: Settings, device: str) -> int:
    """Bytes that this process holds on the device.

    Of a GPU that others share it is torch's memory alone, which leaves out TensorRT's and ONNX Runtime's own. On a CPU
    it has what was freed and is kept for the next request (`keep_freed_memory`), so that what is opened into that adds
    nothing here.
    """
    if device == "cuda":
        import torch

        # What torch keeps of earlier segments' frames is no engine's, and opening one may give it back.
        torch.cuda.empty_cache()
        if settings.executor.gpus_per_worker < 1:
            return int(torch.cuda.memory_reserved())
        free, total = torch.cuda.mem_get_info()
        return int(total - free)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
