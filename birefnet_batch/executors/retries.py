"""Which errors are worth another try, and what is kept of a try that failed."""

from __future__ import annotations

import errno
from concurrent.futures import BrokenExecutor

from birefnet_batch.engines.memory import is_out_of_memory, lacks_thread
from birefnet_batch.errors import BirefnetBatchError, DecoderCrashError, WorkerLostError
from birefnet_batch.executors.units import Step
from birefnet_batch.results import AttemptRecord, utc_now
from birefnet_batch.url_redaction import redact_text

RETRYABLE_ERRORS: tuple[type[Exception], ...] = (DecoderCrashError, WorkerLostError)
"""What may succeed when it is done again, elsewhere, beside memory that ran out. What a user gave wrongly, and what a
defect broke, would only fail again."""


# Memory, processes and threads, open files: of the process, or of all of the machine.
_OUT_OF = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})


def may_be_tried_again(error: Exception) -> bool:
    """Whether the same work may succeed elsewhere."""
    # An engine that says so by an error of ours has tried one frame alone.
    ran_out = is_out_of_memory(error) and not isinstance(error, BirefnetBatchError)
    return ran_out or isinstance(error, RETRYABLE_ERRORS)


def is_unwell(error: BaseException) -> bool:
    """Whether an error tells of a process or its machine, and not of what was worked on.

    Such a process has no memory, threads or files left, or cannot load a library: whatever it does next fails too.
    """
    if is_out_of_memory(error) or isinstance(error, (ImportError, BrokenExecutor)):
        return True
    if isinstance(error, OSError):
        # A plain one without a number is not the system's: a loader gave up.
        return error.errno in _OUT_OF or (type(error) is OSError and error.errno is None)
    return lacks_thread(error)


def attempt_record(
    worker: str, error: Exception, *, node: str | None = None, step: Step | None = None, segment: int | None = None
) -> AttemptRecord:
    """What job.json keeps of an attempt that failed."""
    message = redact_text(str(error)) or type(error).__name__
    return AttemptRecord(worker, type(error).__name__, message, utc_now(), node, step, segment)
