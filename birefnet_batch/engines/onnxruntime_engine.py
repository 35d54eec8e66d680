"""The network run by ONNX Runtime, on the CPU or through one of its other providers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.onnx_session import (
    PROVIDERS,
    form_of,
    left_to_cpu,
    open_session,
    require_precision,
    require_provider,
    run_on_gpu,
)
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_onnx import stored_onnx
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile
from birefnet_batch.process_tuning import usable_processors

if TYPE_CHECKING:
    import onnxruntime

_log = logging.getLogger(__name__)


class OnnxRuntimeEngine(Engine):
    """A session over an ONNX file of the engine store, which is written there first where it is missing.

    Args:
        spec: what it is built for.
        model: the model.
        weights: its checkpoint; not read when the file is there.
        store: where the file is or goes.
        provider: cpu, cuda, tensorrt or openvino.
    """

    family: ClassVar[str] = "onnxruntime"

    def __init__(
        self, spec: EngineSpec, model: ModelSpec, weights: WeightsFile, store: EngineStore, provider: str
    ) -> None:
        super().__init__(spec)
        self._model = model
        self._weights = weights
        self._store = store
        self._provider = provider
        self._session: onnxruntime.InferenceSession | None = None

    @property
    def pads(self) -> bool:
        """On a CPU frames run one by one: a frame's bits do not depend on the others, and nothing is lost by it."""
        return self._provider != "cpu"

    def open(self) -> None:
        """Open the session.

        Raises:
            EngineError: onnxruntime, the provider or the file cannot be had.
            WeightsError: the file has to be written, and the checkpoint does not fit the network.
        """
        require_provider(self._provider)
        require_precision(self._provider, self.spec.precision)
        size = (self.spec.width, self.spec.height)
        path = stored_onnx(self._store, self._model, self._weights, size, self.spec.precision, form_of(self._provider))
        self._session = open_session(path, self._provider, self.spec.threads)
        self.weight_bytes = path.stat().st_size
        if self.spec.device != "cpu" and (left := left_to_cpu(self._session)):
            nodes = ", ".join(f"{count} {operator}" for operator, count in sorted(left.items()))
            note = f"ONNX Runtime's {self._provider} provider leaves nodes to the CPU, which takes time: {nodes}"
            _log.warning("%s", note)
            self.notes = tuple(dict.fromkeys((*self.notes, note)))

    def close(self) -> None:
        """See `Engine`."""
        self._session = None

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """See `Engine`."""
        assert self._session is not None
        if self.spec.device == "cpu":
            singles = images.float().numpy()
            size = 1 if self._provider == "cpu" else len(singles)
            logits = [
                torch.from_numpy(self._session.run(["logits"], {"image": singles[first : first + size]})[0])
                for first in range(0, len(singles), size)
            ]
            return torch.cat(logits) if len(logits) > 1 else logits[0]
        return run_on_gpu(self._session, images)

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        import onnxruntime

        return {
            "family": self.family,
            "version": onnxruntime.__version__,
            "provider": PROVIDERS[self._provider],
            **self.spec.to_dict(),
            "threads": self.spec.threads or usable_processors(),
        }
