"""The stage between matte and encoder: foreground colours, what is behind them, bytes; several batches at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from birefnet_batch.errors import EngineError
from birefnet_batch.painter import Painter
from birefnet_batch.process_tuning import compute_alone, usable_processors
from birefnet_batch.segment_task import Batch, SegmentTask
from birefnet_batch.video.encode import Kind
from birefnet_batch.video.info import LARGE

if TYPE_CHECKING:
    import torch

    from birefnet_batch.device_streams import DeviceStreams, Moment

    _Span = tuple[Moment, Moment]

_MOST_WORKERS = 4
# One batch on its way to the host, the next one worked on.
_GPU_WORKERS = 2


@dataclass(frozen=True)
class Made:
    """What is encoded of a batch."""

    images: dict[Kind, torch.Tensor]
    """In host memory: (B, H, W, 3 or 4) of a video, of its frames' dtype, and (B, H, W) of a mask, uint16 where the
    type is wide, else uint8."""
    times: list[tuple[int, int]]
    """(pts, duration) of each frame."""
    seconds: dict[str, float]
    """How long the device worked on it, by stage."""


@dataclass(frozen=True)
class _Work:
    """The same on its way: what the device was told to do."""

    images: dict[Kind, torch.Tensor]
    unusable: torch.Tensor
    """How many mattes hold NaN."""
    spans: tuple[_Span, ...]
    """When it works on it."""


class Finishing:
    """Makes what is encoded; a context.

    On a CPU each batch has a thread of its own: one after another, batches would leave processors idle wherever a
    batch's own work cannot be shared out. On a GPU all of it is one stream's.

    Args:
        task: the segment.
        streams: of the mattes' device.
    """

    def __init__(self, task: SegmentTask, streams: DeviceStreams) -> None:
        self._task = task
        self._streams = streams
        processors = usable_processors()
        # A batch of floats with what is made of them takes some 50 bytes a pixel: a large one occupies all processors.
        alone = task.info.width * task.info.height > LARGE
        self._workers = 1 if alone else _GPU_WORKERS if streams.on_gpu else min(_MOST_WORKERS, processors)
        self._threads = max(1, processors // self._workers)
        self._context = ExitStack()
        self._own = threading.local()

    def __enter__(self) -> Self:
        task = self._task
        self._pool = self._context.enter_context(ThreadPoolExecutor(self._workers))
        painter = Painter(
            task.backdrop,
            self._streams,
            task.info.time_base,
            task.decode_timeout_s,
            transfer=task.encode.transfer,
            primaries=task.encode.primaries,
            memory_bytes=task.decode_memory_bytes,
            pixel_shape=task.info.sample_aspect_ratio,
        )
        self._painter = self._context.enter_context(painter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def of(self, batches: Iterable[Batch]) -> Iterator[Made]:
        """What is made of each batch, in order.

        Raises:
            EngineError: mattes hold NaN.
        """
        begun: deque[Future[Made]] = deque()
        for batch in batches:
            begun.append(self._begin(batch))
            if len(begun) >= self._workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    def _begin(self, batch: Batch) -> Future[Made]:
        import torch

        from birefnet_batch.matting import full_scale

        streams = self._streams
        frames = behind = None
        with torch.inference_mode(), streams.finishing():
            streams.take(batch.ready, batch.tensors)
            begun = streams.moment()
            if "video" in self._task.kinds:
                frames = batch.frames.permute(0, 3, 1, 2).float().div_(full_scale(batch.frames))
                if self._task.backdrop.kind != "none":
                    # Here, for a film behind the subject goes on from batch to batch.
                    behind = self._painter.paint(frames, [pts for pts, _ in batch.times])
            seconds = (begun, streams.moment())
            if streams.on_gpu:
                # A stream has one order; its device works while the host goes on.
                return self._pool.submit(self._downloaded, batch, self._work(batch, frames, behind, seconds))
        return self._pool.submit(self._finish, batch, frames, behind, seconds)

    def _compute_alone(self) -> None:
        """In each thread once; what a pool's own initializer raises is logged with its trace, and lost."""
        if not hasattr(self._own, "alone"):
            compute_alone()
            self._own.alone = True

    def _finish(self, batch: Batch, frames: torch.Tensor | None, behind: torch.Tensor | None, prepared: _Span) -> Made:
        import torch

        self._compute_alone()
        with torch.inference_mode():
            return self._downloaded(batch, self._work(batch, frames, behind, prepared))

    def _work(self, batch: Batch, frames: torch.Tensor | None, behind: torch.Tensor | None, prepared: _Span) -> _Work:
        """All that is computed, on the current stream."""
        mattes = batch.mattes
        assert mattes is not None
        begun = self._streams.moment()
        # One of them in a frame, and their sum is none.
        unusable = mattes.sum(dim=(1, 2, 3)).isnan().sum()
        images = self._images(batch, mattes, frames, behind)
        return _Work(images, unusable, (prepared, (begun, self._streams.moment())))

    def _downloaded(self, batch: Batch, work: _Work) -> Made:
        streams = self._streams
        assert batch.begun is not None
        count, *there = streams.download(work.spans[-1][1], [work.unusable, *work.images.values()])
        if count:
            began = float(batch.times[0][0] * self._task.info.time_base)
            raise EngineError(
                f"The network's output holds NaN, of which no matte can be made, for {int(count)} of the "
                f"{len(batch.times)} frames from {began:.3f} s on: numbers overflowed; give engine.precision=fp32, and "
                "if it ran in that, other weights"
            )
        seconds = {
            "matte": streams.seconds(batch.begun, batch.ready),
            "foreground": sum(streams.seconds(*span) for span in work.spans),
        }
        return Made(dict(zip(work.images, there, strict=True)), batch.times, seconds)

    def _images(
        self, batch: Batch, mattes: torch.Tensor, frames: torch.Tensor | None, behind: torch.Tensor | None
    ) -> dict[Kind, torch.Tensor]:
        """What `Made` has, on the device."""
        import torch

        from birefnet_batch.matting import (
            composite,
            cut_out,
            estimate_foreground,
            full_scale,
            lifted,
            to_bytes,
            to_words,
        )

        task = self._task
        images: dict[Kind, torch.Tensor] = {}
        own = None if batch.alpha is None else batch.alpha.float().div_(full_scale(batch.alpha))
        if frames is not None:
            if own is not None:
                # The source's own colours again, which were laid over black.
                frames = lifted(frames, own)
            subject = frames
            if task.refine_foreground:
                # Straight colours are mixed by the network's matte alone; where there are none, none count.
                weights = mattes if own is None else mattes * (own > 0)
                subject = estimate_foreground(frames, weights, self._threads, in_place=True)
        if own is not None:
            mattes = mattes * own
        if frames is not None:
            if behind is None:
                made = cut_out(subject, mattes, premultiplied=task.premultiplied)
            else:
                made = composite(subject, mattes, behind)
            wide = batch.frames.dtype == torch.uint16
            images["video"] = to_words(made) if wide else to_bytes(made)
        if "mask" in task.kinds:
            images["mask"] = (to_words if task.form.wide else to_bytes)(mattes)[..., 0]
        return images
