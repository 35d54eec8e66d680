"""The kernels that TensorRT-RTX compiles when it opens a plan, kept beside the plan for the next opening."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from birefnet_batch.storage.durable import write_whole

_log = logging.getLogger(__name__)


def kernels_file(plan: Path, device_name: str) -> Path:
    """Where a plan's kernels for one kind of GPU are kept; they go when the plan goes."""
    return plan.with_name(f"kernels-{re.sub('[^A-Za-z0-9.-]+', '_', device_name)}.cache")


class CompiledKernels:
    """Kernels of one opened plan. A file that cannot be read or written costs time, and nothing else.

    Args:
        config: TensorRT-RTX's, of the context that is to be made.
        path: the file; of the engine store only, since kernels are code.
    """

    def __init__(self, config: Any, path: Path) -> None:
        self._path = path
        self._known = b""
        # The context uses it as long as it lives.
        self._cache = config.create_runtime_cache()
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        # Those of another GPU, driver or version are refused, and compiled anew.
        if content and self._cache.deserialize(content):
            self._known = content
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what has been compiled so far, if that is more than was read."""
        made = self._cache.serialize()
        content = b"" if made is None else bytes(made)
        if not content or content == self._known:
            return
        try:
            write_whole(self._path, content)
        except OSError as error:
            _log.info("compiled kernels are not kept in %s: %s", self._path, error)
            return
        self._known = content
