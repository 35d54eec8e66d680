"""TensorRT 10.1 to 11, or TensorRT-RTX, whose Python API is the same under another module name.

Both are imported only when they are asked for. Nothing here needs a GPU.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from birefnet_batch.engines.installed import installed
from birefnet_batch.errors import EngineError
from birefnet_batch.refusals import one_line

_log = logging.getLogger(__name__)
_OLDEST, _NEWEST = (10, 1), (11, 99)
_INSTALL = "pip install 'birefnet-batch[tensorrt]' (data centre and RTX cards) or 'birefnet-batch[tensorrt-rtx]' (RTX)"


@dataclass(frozen=True)
class TensorRT:
    """One of the two libraries."""

    module: Any
    rtx: bool

    @property
    def name(self) -> str:
        """tensorrt or tensorrt_rtx."""
        return "tensorrt_rtx" if self.rtx else "tensorrt"

    @property
    def version(self) -> str:
        """The library's own version."""
        return str(self.module.__version__)


def load_tensorrt() -> TensorRT:
    """TensorRT where it is installed, else TensorRT-RTX.

    Raises:
        EngineError: neither can be imported, or TensorRT's version is not one that this package knows.
    """
    problems = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:
            problems.append(f"{name}: {error}")
            continue
        found = TensorRT(module, rtx=name == "tensorrt_rtx")
        version = tuple(map(int, found.version.split(".")[:2]))
        if not found.rtx and not _OLDEST <= version <= _NEWEST:
            problems.append(f"tensorrt {found.version} is not one of 10.1 to 11")
            continue
        return found
    raise EngineError(f"engine.name=tensorrt cannot be had ({'; '.join(problems)}; there is {installed()}): {_INSTALL}")


def check_capabilities(library: TensorRT, names: Sequence[str]) -> None:
    """Make sure that a library compiles for GPUs that are not there.

    Args:
        library: which library.
        names: their compute capabilities, as SM89.

    Raises:
        EngineError: it does not; the message has those that it knows.
    """
    if not library.rtx:
        raise EngineError(
            f"{library.name} {library.version} compiles for the GPU that is there, not for {', '.join(names)} without "
            "one: leave out --compute-capability; TensorRT-RTX can: pip install 'birefnet-batch[tensorrt-rtx]', "
            f"where {library.name} is not installed"
        )
    known = [name for name in dir(library.module.ComputeCapability) if name.startswith("SM")]
    unknown = [repr(name) for name in names if name not in known]
    if unknown:
        raise EngineError(
            f"TensorRT-RTX {library.version} does not compile for {', '.join(unknown)}; give {' or '.join(known)}"
        )


@cache
def _listener(module: Any) -> Any:
    """The one logger of the library's kind, which knows but one at a time.

    It keeps errors for our messages and passes the rest on quietly.
    """

    class Listener(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            serious = severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR)
            if serious:
                self.errors.append(one_line(message))
            _log.log(logging.INFO if serious else logging.DEBUG, "%s", message)

    return Listener()


def listener_of(library: TensorRT) -> Any:
    """The library's logger, for a builder, a parser or a runtime; `errors` has what goes wrong from now on."""
    listener = _listener(library.module)
    listener.errors.clear()
    return listener
