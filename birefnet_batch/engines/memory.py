"""Out of memory, in the words of each library."""

from __future__ import annotations

import sys

from birefnet_batch.errors import EngineMemoryError

TOO_LITTLE = (
    "one frame is the smallest batch: give a smaller operating_resolution, engine.precision=fp16, or a device with "
    "more memory"
)
"""What to do when a single frame does not fit."""
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "failed to allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "bad allocation",
    "available memory of",
    "outofmemory",
    # cuBLAS and cuDNN
    "alloc_failed",
    "allocation_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of its GPU.

    torch has a class for a GPU's memory only; onnxruntime and TensorRT have none.
    """
    if isinstance(error, (MemoryError, EngineMemoryError)):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(sign in text for sign in _SIGNS)
