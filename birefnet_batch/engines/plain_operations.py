"""What stands in for triton's kernels, and that it does is said."""

from __future__ import annotations

import logging

from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.refusals import one_line

_log = logging.getLogger(__name__)


def go_without(what: str, error: Exception) -> None:
    """Warn that plain operations do what a kernel of triton's cannot.

    Args:
        what: the work, in the plural.
        error: why.

    Raises:
        Exception: the error, where it is about memory: a smaller batch needs less.
    """
    if is_out_of_memory(error):
        raise error
    _log.warning(
        "%s run as plain torch operations, for triton's kernel cannot be had here: %s: %s",
        *(what, type(error).__name__, one_line(error, 300)),
    )
