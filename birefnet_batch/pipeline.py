"""One segment of a video, streamed through overlapping stages, and the join of segments.

    decode (child process) -> matte -> foreground and composite -> encode (video | mask)

Each arrow is a bounded channel, so memory does not grow with the length of the video.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.counted import Note
from birefnet_batch.device_streams import DeviceStreams
from birefnet_batch.finishing import Finishing
from birefnet_batch.overlap import Cancelled, Channel, Clock, Stages
from birefnet_batch.process_tuning import compute_alone
from birefnet_batch.segment_task import Batch, SegmentRecord, SegmentTask
from birefnet_batch.video.depth import reads_wide, tone_maps
from birefnet_batch.video.encode import Kind, PartWriter, open_part
from birefnet_batch.video.info import LARGE
from birefnet_batch.video.join import JoinedFacts, join_parts
from birefnet_batch.video.reader import Frame, FrameReader

if TYPE_CHECKING:
    import torch

    from birefnet_batch.engines.base import Engine

# Batches that wait between two stages: one keeps both sides busy, two ride out jitter.
_WAITING = 2
# Of large frames one waits, and the decoder is one ahead.
_SLOTS, _LARGE_SLOTS = 4, 2


@dataclass
class _Finished:
    """Images for one encoder, (B, H, W, 3 or 4) or (B, H, W) in host memory, with (pts, duration) of each."""

    images: torch.Tensor
    times: list[tuple[int, int]]


def process_segment(
    task: SegmentTask, engine: Engine, on_frames: Callable[[int], None] = lambda count: None
) -> SegmentRecord:
    """Cut out one segment.

    Args:
        task: what to do.
        engine: an open engine of the task's resolution.
        on_frames: told how many further frames have been encoded.

    Raises:
        InputError: the source cannot be decoded, or ends early.
        EngineError: the network's output holds NaN.
        OutputError: the parts cannot be written.
    """
    clock = Clock()
    segment = task.segment
    count = end = 0
    large = task.info.width * task.info.height > LARGE
    streams = DeviceStreams(engine.device)
    with ExitStack() as context:
        reader = context.enter_context(
            FrameReader(
                task.source,
                start=segment.start or 0,
                stop=segment.stop,
                slots=_LARGE_SLOTS if large else _SLOTS,
                timeout_s=task.decode_timeout_s,
                memory_bytes=task.decode_memory_bytes,
                corrupt=task.corrupt_frames,
                deinterlace=task.deinterlace,
                wide=reads_wide(task.info, task.form),
            )
        )
        writers = {kind: context.enter_context(open_part(task.part(kind), task.encode, kind)) for kind in task.kinds}
        stages = context.enter_context(Stages(on_cancel=reader.stop))
        waiting = 1 if large else _WAITING
        decoded: Channel[Batch] = stages.channel(waiting)
        matted: Channel[Batch] = stages.channel(waiting)
        finished: dict[Kind, Channel[_Finished]] = {kind: stages.channel(waiting) for kind in task.kinds}

        def decode() -> None:
            compute_alone()
            for batch in _batches(clock.timed("decode", iter(reader)), engine.spec.batch_size, streams):
                decoded.put(batch)
            decoded.close()

        def finish() -> None:
            compute_alone()
            with Finishing(task, streams) as finishing:
                for made in finishing.of(matted):
                    for stage, seconds in made.seconds.items():
                        clock.add(stage, seconds)
                    for kind, channel in finished.items():
                        channel.put(_Finished(made.images[kind], made.times))
            for channel in finished.values():
                channel.close()

        def encode(kind: Kind, writer: PartWriter) -> None:
            nonlocal count, end
            for done in finished[kind]:
                started = time.perf_counter()
                for image, (pts, duration) in zip(done.images.numpy(), done.times, strict=True):
                    writer.write(image, pts, duration)
                clock.add(f"encode_{kind}", time.perf_counter() - started)
                if kind == "video":
                    count += len(done.times)
                    end = sum(done.times[-1])
                    on_frames(len(done.times))

        stages.start("decode", decode)
        stages.start("foreground", finish)
        for kind, writer in writers.items():
            stages.start(f"encode-{kind}", lambda kind=kind, writer=writer: encode(kind, writer))  # type: ignore[misc]
        try:
            for batch in decoded:
                streams.take(batch.ready, batch.tensors)
                batch.begun = streams.moment()
                batch.mattes = _matte(batch, engine, task)
                batch.ready = streams.moment()
                matted.put(batch)
            matted.close()
        except Cancelled:
            # The stage that failed says why when the stages are left.
            pass
    return SegmentRecord(
        index=segment.index,
        frames=count,
        end=end,
        seconds=clock.seconds,
        parts={kind: task.part(kind) for kind in task.kinds},
        corrupt_frames=reader.corrupt_frames,
        notes=(*reader.notes, *_nothing_note(task, count)),
    )


def _nothing_note(task: SegmentTask, count: int) -> Iterator[Note]:
    """What is said of a segment without a frame."""
    if count:
        return
    start, stop = (
        word if edge is None else f"{float(edge.pts * task.info.time_base):.3f} s"
        for word, edge in (("the beginning", task.segment.start), ("the end", task.segment.stop))
    )
    yield Note(f"no frame from {start} to {stop} of the file's clock could be decoded: the one before is shown instead")


def join(
    tasks: list[SegmentTask],
    kind: Kind,
    destination: Path,
    *,
    end: int,
    audio: bool,
    timeout_s: float,
) -> JoinedFacts:
    """Make one file of a video's parts, without encoding again, its subtitles with it.

    The parts stay: until the file is published another try may need them.

    Args:
        tasks: the video's segments, in order, all processed.
        kind: which of their media.
        destination: the file to write; a temporary name, renamed by the caller.
        end: when the last segment's last frame ends, in ticks.
        audio: carry the source's audio over.
        timeout_s: seconds that the joining process may stay silent.

    Raises:
        OutputError: the file cannot be written.
    """
    return join_parts(
        [task.part(kind) for task in tasks],
        destination,
        tasks[0].encode,
        end=end,
        audio_from=tasks[0].source if audio and kind == "video" else None,
        timeout_s=timeout_s,
        subtitles_from=tasks[0].source if tasks[0].info.subtitle_tracks and kind == "video" else None,
        origin=tasks[0].info.origin,
    )


def _batches(frames: Iterator[Frame], size: int, streams: DeviceStreams) -> Iterator[Batch]:
    import torch

    waiting: dict[str, torch.Tensor] = {}
    times: list[tuple[int, int]] = []

    def batch() -> Batch:
        there = {name: streams.upload(levels[: len(times)]) for name, levels in waiting.items()}
        alpha = there["alpha"][:, None] if "alpha" in there else None
        return Batch(there["frames"], times, streams.uploaded(), alpha=alpha)

    for frame in frames:
        for name, levels in (("frames", frame.image), ("alpha", frame.alpha)):
            if levels is not None:
                given = torch.from_numpy(levels)
                if not times:
                    waiting[name] = streams.host_memory((size, *given.shape), given.dtype)
                waiting[name][len(times)] = given
        times.append((frame.pts, frame.duration))
        # The slot in shared memory is the decoder's again.
        frame.release()
        if len(times) == size:
            yield batch()
            waiting, times = {}, []
    if times:
        yield batch()


def _matte(batch: Batch, engine: Engine, task: SegmentTask) -> torch.Tensor:
    from birefnet_batch.matting import frames_to_input, logits_to_matte

    shown = batch.frames
    if task.info.hdr:
        from birefnet_batch.matting.tone import to_sdr

        # The network has seen pictures as displays show them.
        shown = to_sdr(batch.frames, task.info.transfer, task.info.primaries, task.info.peak, batch.alpha)
        if tone_maps(task.info, task.form):
            batch.frames = shown
    height, width = batch.frames.shape[1:3]
    logits = engine.infer(frames_to_input(shown, *task.size))
    return logits_to_matte(logits, width, height)
