"""The stage between matte and encoder: foreground colours, what is behind them, bytes; several batches at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from birefnet_batch.errors import EngineError
from birefnet_batch.painter import Painter
from birefnet_batch.process_tuning import compute_alone, usable_processors
from birefnet_batch.video.info import LARGE

if TYPE_CHECKING:
    import torch

    from birefnet_batch.pipeline import Batch, Kind, SegmentTask

    Made = tuple[dict[Kind, torch.Tensor], list[tuple[int, int]], float]

_MOST_WORKERS = 4
_LEAST_ALPHA = 1 / 255


class Finishing:
    """Makes what is encoded; a context.

    On a CPU each batch has a thread of its own: one after another, batches would leave processors idle wherever a
    batch's own work cannot be shared out.

    Args:
        task: the segment.
        device: the type of the mattes' device.
    """

    def __init__(self, task: SegmentTask, device: str) -> None:
        self._task = task
        processors = usable_processors()
        # A batch of floats with what is made of them takes some 50 bytes a pixel: a large one occupies all processors.
        alone = device != "cpu" or task.info.width * task.info.height > LARGE
        self._workers = 1 if alone else min(_MOST_WORKERS, processors)
        self._threads = max(1, processors // self._workers)
        self._context = ExitStack()
        self._own = threading.local()

    def __enter__(self) -> Self:
        task = self._task
        self._pool = self._context.enter_context(ThreadPoolExecutor(self._workers))
        painter = Painter(
            task.backdrop, task.info.time_base, task.decode_timeout_s, task.encode.transfer, task.encode.primaries
        )
        self._painter = self._context.enter_context(painter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def of(self, batches: Iterable[Batch]) -> Iterator[Made]:
        """For each batch, in order: the images of each medium, the frames' times, and the seconds that it took.

        Images are in host memory: (B, H, W, 3 or 4) of a video, of its frames' dtype, and (B, H, W) of a mask, uint16
        where the type is wide, else uint8.

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

        started = time.perf_counter()
        frames = behind = None
        if "video" in self._task.kinds:
            with torch.inference_mode():
                frames = batch.frames.permute(0, 3, 1, 2).float().div_(full_scale(batch.frames))
                if self._task.backdrop.kind != "none":
                    # Here, for a film behind the subject goes on from batch to batch.
                    behind = self._painter.paint(frames, [pts for pts, _ in batch.times])
        return self._pool.submit(self._finish, batch, frames, behind, time.perf_counter() - started)

    def _compute_alone(self) -> None:
        """In each thread once; what a pool's own initializer raises is logged with its trace, and lost."""
        if not hasattr(self._own, "alone"):
            compute_alone()
            self._own.alone = True

    def _finish(self, batch: Batch, frames: torch.Tensor | None, behind: torch.Tensor | None, seconds: float) -> Made:
        import torch

        from birefnet_batch.matting import composite, cut_out, estimate_foreground, full_scale, to_bytes, to_words

        started = time.perf_counter()
        self._compute_alone()
        task, mattes = self._task, batch.mattes
        assert mattes is not None
        images: dict[Kind, torch.Tensor] = {}
        with torch.inference_mode():
            # One of them in a frame, and their sum is none; asked for below, where the device is waited for anyway.
            sums = mattes.sum(dim=(1, 2, 3))
            own = None if batch.alpha is None else batch.alpha.float().div_(full_scale(batch.alpha))
            if frames is not None:
                if own is not None:
                    # The source's own colours again, which were laid over black.
                    frames = (frames / own.clamp_min(_LEAST_ALPHA)).clamp_(0, 1)
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
                images["video"] = (to_words(made) if wide else to_bytes(made)).cpu()
            if "mask" in task.kinds:
                images["mask"] = (to_words if task.form.wide else to_bytes)(mattes)[..., 0].cpu()
            unusable = int(sums.isnan().sum())
        if unusable:
            began = float(batch.times[0][0] * task.info.time_base)
            raise EngineError(
                f"The network's output holds NaN, of which no matte can be made, for {unusable} of the "
                f"{len(batch.times)} frames from {began:.3f} s on: numbers overflowed; give engine.precision=fp32, and "
                "if it ran in that, other weights"
            )
        return images, batch.times, seconds + time.perf_counter() - started
