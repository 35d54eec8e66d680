"""Out of memory, in the words of each library; and the most that a process has held."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError, EngineError, EngineMemoryError, OutputError
from birefnet_batch.process_tuning import address_space

TOO_LITTLE = (
    "one frame is the smallest batch: give a smaller operating_resolution, engine.precision=fp16, or a device with "
    "more memory"
)
"""What to do when a single frame does not fit."""
_SIGNS = (
    "out of memory",
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "available memory of",
    "outofmemory",
    # cuBLAS and cuDNN
    "alloc_failed",
    "allocation_failed",
    # oneDNN, which says no more
    "could not create a primitive",
    # torch's interpolation, of a batch whose maps are too large for its indices
    "int_max elements",
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
    if isinstance(error, OutputError) and error.__context__ is not None:
        # What the encoder said, its text is about the file.
        return is_out_of_memory(error.__context__)
    if address_space() is not None and _may_have_been_refused(error):
        return True
    if isinstance(error, BirefnetBatchError) and not isinstance(error, EngineError):
        # Its text has the name that a user gave a file.
        return False
    # The system's errors name files too, beside their own words.
    text = str(getattr(error, "strerror", None) or error).lower()
    return isinstance(error, Exception) and any(sign in text for sign in _SIGNS)


def _may_have_been_refused(error: BaseException) -> bool:
    """Whether this is what becomes of memory that such a limit refused.

    A thread without room for its stack, Python's or libav's, and an encoder that does not open, do not tell what they
    lacked. Where memory is not limited it was granted, and they lack something else.
    """
    av = sys.modules.get("av")
    external = av is not None and isinstance(error, av.error.ExternalError)
    return external or isinstance(error, BlockingIOError) or lacks_thread(error)


def lacks_thread(error: BaseException) -> bool:
    """Whether Python says that the system starts no further thread."""
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def peak_bytes() -> int:
    """The most of the machine's memory that this process has held at once, in bytes.

    Linux counts in `ru_maxrss` what the process that started this one had held until then.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
