"""What no CUDA graph may hold: tensors that are made of the host's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class HostNumbers(TorchDispatchMode):
    """Counts them: on a GPU each is a copy that waits for all that it has to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count, and let torch do it."""
        self.count += func is torch.ops.aten.lift_fresh.default
        return func(*args, **(kwargs or {}))
