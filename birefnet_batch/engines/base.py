"""The interface of every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.errors import EngineError, EngineMemoryError
from birefnet_batch.refusals import one_line

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is built for; nothing in it is `auto` any more."""

    model: str
    """The model's short name."""
    width: int
    height: int
    precision: str
    """fp32, fp16 or bf16."""
    batch_size: int
    device: str
    """cpu or cuda."""
    threads: int | None = None
    """CPU threads; None is `usual_threads` of torch, `usable_processors` of ONNX Runtime."""

    def to_dict(self) -> dict[str, Any]:
        """What of it is recorded of a job."""
        return {
            "device": self.device,
            "width": self.width,
            "height": self.height,
            "precision": self.precision,
            "batch_size": self.batch_size,
        }


class Engine(ABC):
    """Maps normalised images to logits on one device; a context that opens and closes it.

    A subclass sets `family`, the value of `engine.name` that selects it.
    """

    family: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not isinstance(getattr(cls, "family", None), str):
            raise TypeError(
                f"{cls.__name__} has no family; set the class attribute `family` to the value of engine.name "
                "that selects it"
            )

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.chosen: dict[str, Any] = {}
        """Why it is this engine, where the settings left that open, for the job record."""
        self.refused_batches: tuple[int, ...] = ()
        """Larger batches with which it did not open because memory ran out."""
        self.notes: tuple[str, ...] = ()
        """What the records of jobs say of all that it makes: sentences for users."""
        self.weight_bytes = 0
        """Bytes of the weights that it holds on its device once it is open; 0 where the engine cannot tell."""
        self._opened = False

    def __enter__(self) -> Self:
        if not self._opened:
            self.open()
            self._opened = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            self._opened = False
            self.close()

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            images: (B, 3, height, width) float on the engine's device, normalised; B from 1 to the batch size.

        Returns:
            (B, 1, height, width) float32 logits. Where `pads`, what runs always has the full batch size, so that
            the same frames at the same places give the same bits; at another place a frame's logits may round
            otherwise.

        Raises:
            EngineError: the engine is not open, or the images do not have its shape.
            EngineMemoryError: there is not enough memory for the batch.
        """
        spec = self.spec
        if not self._opened:
            raise EngineError(f"The engine of {spec.model} is not open; use it as `with engine:`")
        shape = tuple(images.shape)
        if shape[1:] != (3, spec.height, spec.width) or not 1 <= shape[0] <= spec.batch_size:
            raise EngineError(
                f"The engine of {spec.model} was given images of shape {shape}; it takes "
                f"(1 to {spec.batch_size}, 3, {spec.height}, {spec.width})"
            )
        missing = spec.batch_size - shape[0]
        if missing and self.pads:
            import torch

            # An index of the host's would be copied first, and all that the device has to do waited for.
            images = torch.cat((images, images[:1].expand(missing, -1, -1, -1)))
        try:
            return self.run(images)[: shape[0]].float()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = one_line(error, 300)
        # Out here the failed run's frames, and what they held, are gone.
        raise EngineMemoryError(
            f"The engine of {spec.model} at {spec.width}x{spec.height} ran out of memory with batches of "
            f"{spec.batch_size}: {reason}"
        )

    def record(self) -> dict[str, Any]:
        """What the job record says of the engine: what it is, and why it is this one."""
        return {**self.describe(), **self.chosen}

    @property
    def pads(self) -> bool:
        """Whether a partial batch is filled up before it runs."""
        return True

    @property
    def device(self) -> torch.device:
        """Where `infer` takes its images."""
        import torch

        return torch.device(self.spec.device)

    @abstractmethod
    def open(self) -> None:
        """Load or build what `run` needs."""

    @abstractmethod
    def close(self) -> None:
        """Free it."""

    @abstractmethod
    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Batches of the right shape, full ones where `pads` -> logits."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Family, library version, device, precision, batch and thread counts, for the job record."""
