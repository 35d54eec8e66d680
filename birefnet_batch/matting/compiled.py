"""Functions over arrays, compiled at their first use on a machine; they let other threads run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
from numba.core import caching

Function = TypeVar("Function", bound=Callable[..., Any])
# Not every version of the library has types.
_FunctionCache: Any = caching.FunctionCache


def compiled(function: Function) -> Function:
    """Compile a function without fast-math liberties, so that it rounds as its text says."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    dispatcher: Any = numba.njit(**options)(function)
    # No folder that a cache could be written to: then each process compiles for some seconds.
    with suppress(RuntimeError):
        dispatcher._cache = _Cache(function)
    return cast(Function, dispatcher)


class _Cache(_FunctionCache):  # type: ignore[misc]
    """What was compiled before, on disk: nothing fails by it, where the library's own raises what befalls its files."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for a signature; None where there is nothing that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # A power cut leaves files empty or in part, of which a reader of pickles may raise anything. Without a new
            # index saving would fail too.
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if the disk takes it."""
        # An index that is damaged, on a disk that is full, was not made anew either.
        with suppress(Exception):
            super().save_overload(sig, data)
