"""The network run by torch, on a CPU or one GPU."""

from __future__ import annotations

import platform
from typing import Any, ClassVar

import torch
from torch import nn

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.process_tuning import usual_threads

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine(Engine):
    """Eager torch: the reference that other engines are compared with.

    Args:
        spec: what it is built for.
        model: the model.
        weights: its checkpoint.
    """

    family: ClassVar[str] = "torch"

    def __init__(self, spec: EngineSpec, model: ModelSpec, weights: WeightsFile) -> None:
        super().__init__(spec)
        self._model = model
        self._weights = weights
        self._network: nn.Module | None = None

    @property
    def pads(self) -> bool:
        """See `Engine`."""
        return self.spec.device != "cpu"

    def open(self) -> None:
        """Read the weights and move them to the device.

        Raises:
            WeightsError: the checkpoint does not fit the network.
        """
        self._use_threads()
        network = load_network(self._model, self._weights)
        network.to(self.device, DTYPES[self.spec.precision])
        # Counted first: a layer that is prepared may keep its weights outside of its parameters.
        self.weight_bytes = sum(weight.nbytes for weight in network.parameters())
        network.prepare()
        self._network = network

    def close(self) -> None:
        """See `Engine`."""
        self._network = None
        if self.spec.device == "cuda":
            torch.cuda.empty_cache()

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        assert self._network is not None
        # The count belongs to the calling thread, which need not be the one that opened the engine.
        self._use_threads()
        # One by one on a CPU: a frame's logits are the same bits wherever it is in a batch, less memory is needed, and
        # nothing is slower.
        size = 1 if self.spec.device == "cpu" else len(images)
        parts = torch.split(images.to(DTYPES[self.spec.precision]), size)
        with torch.inference_mode():
            return torch.cat([self._network(part) for part in parts])

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        on_gpu = self.spec.device == "cuda"
        return {
            "family": self.family,
            "version": torch.__version__,
            "device_name": torch.cuda.get_device_name() if on_gpu else _processor(),
            **self.spec.to_dict(),
            "threads": torch.get_num_threads(),
        }

    def _use_threads(self) -> None:
        threads = self.spec.threads or usual_threads()
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)


def _processor() -> str:
    """The instruction set that torch uses: its kernels, and so the last bits, differ between them."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
