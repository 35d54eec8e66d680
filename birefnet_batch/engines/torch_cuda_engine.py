"""The network run by torch on one GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from birefnet_batch.engines.base import EngineSpec
from birefnet_batch.engines.cuda_network import CudaNetwork, CudaOptions
from birefnet_batch.engines.store_names import make_store
from birefnet_batch.engines.torch_engine import DTYPES, TorchEngine
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network


def require_capability(precision: str) -> None:
    """Make sure that torch's GPU computes in a precision.

    Raises:
        EngineError: it does not.
    """
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        raise EngineError(
            "engine.precision=bf16 needs a GPU of compute capability 8.0 or newer; "
            f"{torch.cuda.get_device_name()} is older: give engine.precision=fp16 or fp32"
        )


class TorchCudaEngine(TorchEngine):
    """Torch on a GPU.

    Args:
        spec: what it is built for.
        model: the model.
        weights: its checkpoint.
        options: how it runs.
        store: the engine store's folder, which keeps what torch.compile makes; None where that is not asked for.
    """

    def __init__(
        self, spec: EngineSpec, model: ModelSpec, weights: WeightsFile, options: CudaOptions, store: Path | None
    ) -> None:
        super().__init__(spec, model, weights)
        self._options = options
        self._store = store
        self._runner: CudaNetwork | None = None

    def open(self) -> None:
        """Read the weights, prepare the network on the GPU and record its launch.

        Raises:
            EngineError: the GPU does not have the precision.
            WeightsError: the checkpoint does not fit the network.
        """
        spec = self.spec
        require_capability(spec.precision)
        if self._options.compile and self._store is not None:
            # Both libraries read these when they compile for the first time.
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self._store / "inductor"))
            os.environ.setdefault("TRITON_CACHE_DIR", str(self._store / "triton"))
            make_store(self._store)
        network = load_network(self._model, self._weights).to(self.device, DTYPES[spec.precision])
        self._runner = CudaNetwork(network, (spec.batch_size, 3, spec.height, spec.width), self._options)

    def close(self) -> None:
        """See `Engine`."""
        self._runner = None
        super().close()

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        assert self._runner is not None
        return self._runner(images)

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        assert self._runner is not None
        return {
            **super().describe(),
            "triton": self._runner.triton,
            "fused_blocks": self._runner.fused,
            "channels_last": self._runner.channels_last,
            "cuda_graph": self._runner.graphed,
            "compiled": self._options.compile,
        }
