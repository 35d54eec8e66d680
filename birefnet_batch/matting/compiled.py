"""Functions over arrays, compiled at their first use on a machine; they let other threads run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function without fast-math liberties, so that it rounds as its text says."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        # No folder that a cache could be written to: then each process compiles for some seconds.
        return cast(Function, numba.njit(**options)(function))
