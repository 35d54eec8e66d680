"""A compiled plan in device memory, run on batches of one shape by TensorRT or TensorRT-RTX."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birefnet_batch.engines.compiled_kernels import CompiledKernels
from birefnet_batch.engines.cuda_graph import capture
from birefnet_batch.engines.tensorrt_module import TensorRT, listener_of
from birefnet_batch.errors import EngineError


class PlanRunner:
    """Runs a plan. Input and output are torch tensors on the device.

    Args:
        library: which library built it.
        plan: its file; of the engine store only, since a plan is code.
        shape: (B, 3, H, W) of every batch.
        graph: launch a batch as one CUDA graph. TensorRT-RTX makes its own, when it has compiled its kernels.
        kernels: where TensorRT-RTX keeps the kernels that it compiles; None compiles them at each opening.

    Raises:
        EngineError: the library cannot load or run it.
    """

    def __init__(
        self,
        library: TensorRT,
        plan: Path,
        shape: tuple[int, int, int, int],
        graph: bool = True,
        kernels: Path | None = None,
    ) -> None:
        self._listener = listener_of(library)
        # The context needs the engine, and the engine its runtime, as long as it lives.
        self._runtime = library.module.Runtime(self._listener)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        self._kernels: CompiledKernels | None = None
        how: tuple[Any, ...] = ()
        if self._engine is not None and library.rtx:
            asked = self._engine.create_runtime_config()
            strategies = library.module.CudaGraphStrategy
            # Otherwise other kernels, which round otherwise, take their places while it runs.
            asked.dynamic_shapes_kernel_specialization_strategy = (
                library.module.DynamicShapesKernelSpecializationStrategy.EAGER
            )
            asked.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if graph else strategies.DISABLED
            if kernels is not None:
                self._kernels = CompiledKernels(asked, kernels)
            how = (asked,)
        context: Any = None if self._engine is None else self._engine.create_execution_context(*how)
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
        # On the default stream TensorRT would wait for the whole device.
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph = capture(self._launch) if graph and not library.rtx else None
        self.graphed = graph
        """Whether a batch is launched as one graph."""
        if library.rtx:
            # It compiles what is left at the first launch.
            with torch.cuda.stream(self._stream):
                self._launch()
            self._stream.synchronize()
        self._keep_kernels()

    def __call__(self, images: Tensor) -> Tensor:
        """Map a batch of the shape, in any float dtype, to float32 logits (B, 1, H, W)."""
        self._image.copy_(images)
        if self._graph is None:
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                self._launch()
            current.wait_stream(self._stream)
        else:
            self._graph.replay()
        # The buffer is the next batch's.
        return self._logits.clone()

    def close(self) -> None:
        """Keep what was compiled for the shape after the opening, and free the context when its work has ended."""
        self._keep_kernels()
        # A device that failed for good answers no more, and has no work either.
        with suppress(RuntimeError):
            torch.cuda.synchronize()
        self._context = None

    def _keep_kernels(self) -> None:
        if self._kernels is not None:
            self._kernels.keep()

    def _launch(self) -> None:
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError(f"the plan could not be run: {self._errors()}")

    def _errors(self) -> str:
        return "; ".join(self._listener.errors)[:400] or "no reason was given"
