"""A compiled plan in device memory, run on batches of one shape by TensorRT or TensorRT-RTX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birefnet_batch.engines.cuda_graph import capture
from birefnet_batch.engines.tensorrt_module import TensorRT, make_listener
from birefnet_batch.errors import EngineError


class PlanRunner:
    """Runs a plan. Input and output are torch tensors on the device, and the launch is one CUDA graph.

    Args:
        library: which library built it.
        plan: its file; of the engine store only, since a plan is code.
        shape: (B, 3, H, W) of every batch.

    Raises:
        EngineError: the library cannot load or run it.
    """

    def __init__(self, library: TensorRT, plan: Path, shape: tuple[int, int, int, int]) -> None:
        self._listener = make_listener(library)
        # The context needs the engine, and the engine its runtime, as long as it lives.
        self._runtime = library.module.Runtime(self._listener)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        context: Any = None if self._engine is None else self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{library.name} {library.version} cannot load the plan {plan}: {self._errors()}; "
                "`birefnet-batch-engines prune --all` removes it, and the next run builds it again"
            )
        self._context = context
        self._image = torch.zeros(shape, device="cuda")
        self._logits = torch.zeros((shape[0], 1, *shape[2:]), device="cuda")
        context.set_input_shape("image", shape)
        for name, buffer in (("image", self._image), ("logits", self._logits)):
            context.set_tensor_address(name, buffer.data_ptr())
        self._graph = capture(self._launch)

    @property
    def graphed(self) -> bool:
        """Whether a batch is launched as one graph."""
        return self._graph is not None

    def __call__(self, images: Tensor) -> Tensor:
        """Map a batch of the shape, in any float dtype, to float32 logits (B, 1, H, W)."""
        self._image.copy_(images)
        if self._graph is None:
            self._launch()
        else:
            self._graph.replay()
        # The buffer is the next batch's.
        return self._logits.clone()

    def _launch(self) -> None:
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError(f"the plan could not be run: {self._errors()}")

    def _errors(self) -> str:
        return "; ".join(self._listener.errors)[:400] or "no reason was given"
