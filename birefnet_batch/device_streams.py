"""Batches to a device and back beside what it computes: streams of their own, and host memory that it reads itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Moment:
    """A place in a stream's work, which the device comes to some time after it was marked."""

    event: Any
    """torch's."""
    marked: float
    """By `time.perf_counter`."""


class DeviceStreams:
    """Streams for uploads, finishing and downloads; the network has the current one.

    A tensor that is made on one stream and used on another is handed over: its maker marks the `moment`, and its user
    gives that to `take`. On a CPU, which has no streams, nothing is waited for and nothing is copied.

    Args:
        device: of the network.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self.on_gpu = device.type == "cuda"
        self._module: Any = torch.get_device_module(device)
        self._uploads, self._finishing, self._downloads = _streams(self._module)

    def host_memory(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory of the host, pinned for a GPU: torch keeps such blocks, and none is used again before it is copied."""
        import torch

        return torch.empty(tuple(shape), dtype=dtype, pin_memory=self.on_gpu)

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to copy `host_memory` to the device, on the stream of uploads."""
        with self._module.stream(self._uploads):
            return tensor.to(self._device, non_blocking=True)

    def uploaded(self) -> Moment:
        """When all that was uploaded until now is there."""
        with self._module.stream(self._uploads):
            return self.moment()

    def finishing(self) -> AbstractContextManager[object]:
        """Make the stream of finishing the calling thread's current one."""
        stream: AbstractContextManager[object] = self._module.stream(self._finishing)
        return stream

    def moment(self) -> Moment:
        """When all that was begun until now on the current stream is done."""
        # Whoever waits for it sleeps meanwhile: other threads need the processor.
        event = self._module.Event(enable_timing=True, blocking=True) if self.on_gpu else self._module.Event()
        event.record(self._module.current_stream())
        return Moment(event, time.perf_counter())

    def seconds(self, begin: Moment, end: Moment) -> float:
        """Seconds between two moments of one stream that the device has come to."""
        if self.on_gpu:
            return float(begin.event.elapsed_time(end.event)) / 1000
        return end.marked - begin.marked

    def take(self, ready: Moment, tensors: Iterable[torch.Tensor]) -> None:
        """Use tensors of another stream on the current one from now on: it waits until they are ready.

        Their memory is given to nobody else before what is begun with them here is done.
        """
        import torch

        stream = self._module.current_stream()
        stream.wait_event(ready.event)
        if self.on_gpu:
            # torch takes it for a change of the tensor, which those of inference refuse elsewhere.
            with torch.inference_mode():
                for tensor in tensors:
                    tensor.record_stream(stream)

    def download(self, ready: Moment, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Copy tensors to the host when they are ready, and wait for them; other streams' work goes on meanwhile."""
        if not self.on_gpu:
            return list(tensors)
        copies = [self.host_memory(tensor.shape, tensor.dtype) for tensor in tensors]
        with self._module.stream(self._downloads):
            self.take(ready, tensors)
            for copy, tensor in zip(copies, tensors, strict=True):
                copy.copy_(tensor, non_blocking=True)
            copied = self.moment()
        copied.event.synchronize()
        return copies


@cache
def _streams(module: Any) -> tuple[Any, Any, Any]:
    """The same for every segment: torch keeps freed memory for the stream that it was used on."""
    return module.Stream(), module.Stream(), module.Stream()
