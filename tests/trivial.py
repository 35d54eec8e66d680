"""An engine whose logits are known, for tests of everything around it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from birefnet_batch.engines.base import Engine, EngineSpec


class TrivialEngine(Engine):
    """Logits from brightness: what is brighter than mid-grey is the subject."""

    family: ClassVar[str] = "trivial"

    def __init__(self, width: int = 64, height: int = 64, batch_size: int = 1, device: str = "cpu") -> None:
        super().__init__(EngineSpec("demo", width, height, "fp32", batch_size, device))
        self.batches: list[int] = []

    def open(self) -> None: ...

    def close(self) -> None: ...

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Ten times the first channel."""
        self.batches.append(images.shape[0])
        return images[:, :1] * 10

    def describe(self) -> dict[str, Any]:
        """Nothing of interest."""
        return {"family": self.family}
