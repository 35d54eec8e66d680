"""The network as a compiled plan, run by TensorRT or TensorRT-RTX on one GPU."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.compiled_kernels import kernels_file
from birefnet_batch.engines.plan_runner import PlanRunner
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_plan import stored_plan
from birefnet_batch.engines.tensorrt_module import TensorRT, load_tensorrt
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile
from birefnet_batch.versions import INSTALL_TORCH


class TensorRTEngine(Engine):
    """A plan of the engine store, compiled first where it is missing.

    Args:
        spec: what it is built for.
        model: the model.
        weights: its checkpoint; not read when the plan is there.
        store: where the plan is or goes.
        workspace_bytes: memory that a layer may use; None is the library's own limit.
        graph: launch each batch as one CUDA graph.
    """

    family: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        spec: EngineSpec,
        model: ModelSpec,
        weights: WeightsFile,
        store: EngineStore,
        workspace_bytes: int | None,
        graph: bool,
    ) -> None:
        super().__init__(spec)
        self._model = model
        self._weights = weights
        self._store = store
        self._workspace_bytes = workspace_bytes
        self._graph = graph
        self._library: TensorRT | None = None
        self._runner: PlanRunner | None = None

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
                f"{torch.__version__} finds no GPU; give engine=torch, or install a driver and a CUDA build: "
                f"{INSTALL_TORCH}"
            )
        # It has an allocator of its own, which does not see what torch keeps for itself.
        torch.cuda.empty_cache()
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
        self._library = library
        torch.cuda.empty_cache()
        shape = (self.spec.batch_size, 3, self.spec.height, self.spec.width)
        kernels = kernels_file(path, torch.cuda.get_device_name())
        self._runner = PlanRunner(library, path, shape, self._graph, kernels)

    def close(self) -> None:
        """See `Engine`."""
        if self._runner is not None:
            self._runner.close()
        self._runner = None
        torch.cuda.empty_cache()

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        assert self._runner is not None
        return self._runner(images)

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        assert self._library is not None
        return {
            "family": self.family,
            "library": self._library.name,
            "version": self._library.version,
            "device_name": torch.cuda.get_device_name(),
            **self.spec.to_dict(),
            "cuda_graph": self._runner is not None and self._runner.graphed,
        }
