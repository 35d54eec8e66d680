"""The network as a compiled plan, run by TensorRT or TensorRT-RTX on one GPU."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.cuda_graph import capture
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_plan import stored_plan
from birefnet_batch.engines.tensorrt_module import TensorRT, load_tensorrt, make_listener
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile

_log = logging.getLogger(__name__)


class TensorRTEngine(Engine):
    """A plan of the engine store, compiled first where it is missing.

    Its input and output are torch tensors on the device, always a full batch; the launch is recorded once as a CUDA
    graph, since shapes and addresses never change.

    Args:
        spec: what it is built for.
        model: the model.
        weights: its checkpoint; not read when the plan is there.
        store: where the plan is or goes.
        workspace_bytes: memory that a layer may use; None is the library's own limit.
    """

    family: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        spec: EngineSpec,
        model: ModelSpec,
        weights: WeightsFile,
        store: EngineStore,
        workspace_bytes: int | None = None,
    ) -> None:
        super().__init__(spec)
        self._model = model
        self._weights = weights
        self._store = store
        self._workspace_bytes = workspace_bytes
        self._library: TensorRT | None = None
        self._held: list[Any] = []
        self._context: Any = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._image: torch.Tensor | None = None
        self._logits: torch.Tensor | None = None

    @property
    def device(self) -> torch.device:
        """See `Engine`."""
        return torch.device(self.spec.device)

    def open(self) -> None:
        """Read the plan, make buffers, record the launch.

        Raises:
            EngineError: there is no GPU, TensorRT cannot be had, or the plan cannot be built or run.
        """
        library = load_tensorrt()
        if not torch.cuda.is_available():
            # Before a runtime is made: without a driver that can end the process.
            raise EngineError(
                f"engine.name=tensorrt was asked for and {library.name} {library.version} is here, but torch "
                f"{torch.__version__} finds no GPU; give engine.name=torch, or install a driver and a CUDA build: "
                "pip install --force-reinstall torch"
            )
        path = stored_plan(
            self._store,
            library,
            self._model,
            self._weights,
            (self.spec.width, self.spec.height),
            self.spec.precision,
            self.spec.batch_size,
            self._workspace_bytes,
        )
        listener = make_listener(library)
        runtime = library.module.Runtime(listener)
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        context = None if engine is None else engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{library.name} {library.version} cannot load the plan {path}: "
                f"{'; '.join(listener.errors)[:400] or 'it gave no reason'}; "
                "`birefnet-batch-engines prune` removes it, and the next run builds it again"
            )
        self._library, self._context, self._held = library, context, [engine, runtime, listener]
        self._bind(context)

    def _bind(self, context: Any) -> None:
        spec = self.spec
        self._image = torch.zeros((spec.batch_size, 3, spec.height, spec.width), device=self.device)
        self._logits = torch.zeros((spec.batch_size, 1, spec.height, spec.width), device=self.device)
        context.set_input_shape("image", tuple(self._image.shape))
        for name, buffer in (("image", self._image), ("logits", self._logits)):
            context.set_tensor_address(name, buffer.data_ptr())
        self._graph = capture(self._launch)

    def _launch(self) -> None:
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            errors = "; ".join(self._held[-1].errors)[:400]
            raise EngineError(f"TensorRT could not run {self.spec.model}: {errors or 'it gave no reason'}")

    def close(self) -> None:
        """See `Engine`."""
        self._graph = self._image = self._logits = None
        self._context = None
        self._held = []
        torch.cuda.empty_cache()

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        assert self._image is not None
        assert self._logits is not None
        self._image.copy_(images)
        if self._graph is None:
            self._launch()
        else:
            self._graph.replay()
        # The buffer is the next batch's.
        return self._logits.clone()

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        assert self._library is not None
        return {
            "family": self.family,
            "library": self._library.name,
            "version": self._library.version,
            "device_name": torch.cuda.get_device_name(),
            **self.spec.to_dict(),
            "cuda_graph": self._graph is not None,
        }
