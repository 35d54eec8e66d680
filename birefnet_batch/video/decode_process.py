"""The decoder's own process: `python -m birefnet_batch.video.decode_process`, started by `FrameReader`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from birefnet_batch.errors import InputError
from birefnet_batch.video.child import map_memory, serve
from birefnet_batch.video.container import open_input, origin_of, pick_video, reason_of
from birefnet_batch.video.info import VideoInfo
from birefnet_batch.video.messages import Decoded, DecodeEnd, DecodeTask, Start
from birefnet_batch.video.picture import Picture

# Threads do not change what is decoded; a fixed count keeps many workers on one machine from fighting.
_THREADS = 2
_CORRUPT_SHARE, _CORRUPT_LEAST = 0.05, 3


@dataclass
class _Tally:
    packets: int = 0
    frames: int = 0
    corrupt: int = 0
    ended_by: str | None = None


def work(connection: Connection[Any, Any], memory: int, task: DecodeTask) -> None:
    """Send a VideoInfo, then, after `Start`, the frames, then `DecodeEnd`."""
    shown = os.fsdecode(task.path)
    with open_input(task.path) as container:
        stream = pick_video(container, task.path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _THREADS
        tally = _Tally()
        frames = _decode(container, stream, tally)
        first = next(frames, None)
        if first is None:
            because = f": {tally.ended_by}" if tally.ended_by else ""
            raise InputError(f"{shown} has no frame that can be decoded{because}")
        picture = Picture(first)
        info = _info(container, stream, first, picture)
        connection.send(info)
        start = connection.recv()
        assert isinstance(start, Start)
        size = info.width * info.height * 3
        shared = np.frombuffer(map_memory(memory, start.slots * size), np.uint8)
        slots = shared.reshape(start.slots, info.height, info.width, 3)
        _send_frames(connection, slots, _timed(_chain(first, frames), stream, info), picture, task)
        if task.stop_frame is None or tally.frames < task.stop_frame:
            _check_end(shown, stream, tally)
    notes = (f"{tally.corrupt} corrupt frames could not be decoded",) if tally.corrupt else ()
    connection.send(DecodeEnd(tally.corrupt, notes))


def _decode(container: InputContainer, stream: VideoStream, tally: _Tally) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            tally.ended_by = reason_of(error)
            packet = None
        if packet is not None and packet.size:
            tally.packets += 1
        try:
            # After a read error the decoder still holds frames; None flushes them.
            decoded = stream.codec_context.decode(packet if packet is not None and packet.size else None)
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, OSError) as error:
            tally.corrupt += 1
            tally.ended_by = tally.ended_by or (reason_of(error) if not tally.frames else None)
            if packet is None or not packet.size:
                return
            continue
        for frame in decoded:
            tally.frames += 1
            yield frame
        if packet is None or not packet.size:
            return


def _check_end(shown: str, stream: VideoStream, tally: _Tally) -> None:
    """Refuse what is shorter than its own tables say: a cut-out that ends early must not look finished."""
    declared = stream.frames
    if declared and tally.packets < declared:
        raise InputError(
            f"{shown} ends early: {tally.packets} of {declared} frames are there; "
            "it was not copied or downloaded completely"
        )
    if tally.ended_by:
        raise InputError(
            f"{shown} ends early, after {tally.frames} frames ({tally.ended_by}); "
            "it was not copied or downloaded completely, or is damaged"
        )
    if tally.corrupt > max(_CORRUPT_LEAST, _CORRUPT_SHARE * tally.packets):
        raise InputError(f"{shown} is damaged: {tally.corrupt} of {tally.packets} frames cannot be decoded")


def _chain(first: av.VideoFrame, rest: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    yield first
    yield from rest


def _timed(
    frames: Iterator[av.VideoFrame], stream: VideoStream, info: VideoInfo
) -> Iterator[tuple[av.VideoFrame, int]]:
    """Each frame with its time, strictly increasing: a time that is missing or goes back becomes the next possible."""
    offset = round(info.origin / info.time_base)
    rate = stream.average_rate or stream.base_rate
    usual = max(1, round(1 / (rate * info.time_base))) if rate else 1
    previous: int | None = None
    step = usual
    for frame in frames:
        if frame.pts is None:
            pts = 0 if previous is None else previous + step
        else:
            pts = frame.pts - offset
            if previous is not None and pts <= previous:
                pts = previous + 1
        step = frame.duration or usual
        previous = pts
        yield frame, pts


def _send_frames(
    connection: Connection[Any, Any],
    slots: NDArray[np.uint8],
    frames: Iterator[tuple[av.VideoFrame, int]],
    picture: Picture,
    task: DecodeTask,
) -> None:
    free = list(range(len(slots)))
    waiting: tuple[int, int, int, int] | None = None  # index, slot, pts, own duration
    for index, (frame, pts) in enumerate(frames):
        if waiting is not None:
            before, slot, previous, _ = waiting
            connection.send(Decoded(before, slot, previous, pts - previous))
            waiting = None
        if task.stop_frame is not None and index >= task.stop_frame:
            return
        if index < task.start_frame:
            continue
        while not free or connection.poll():
            free.append(connection.recv())
        slot = free.pop()
        picture.write(frame, slots[slot])
        waiting = (index, slot, pts, max(1, frame.duration or 0))
    if waiting is not None:
        index, slot, pts, duration = waiting
        connection.send(Decoded(index, slot, pts, duration))


def _info(container: InputContainer, stream: VideoStream, first: av.VideoFrame, picture: Picture) -> VideoInfo:
    time_base = Fraction(first.time_base or stream.time_base or Fraction(1, 1000))
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = Fraction(stream.duration) * Fraction(stream.time_base)
    elif container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
    ratio = stream.sample_aspect_ratio
    if ratio is not None and (ratio <= 0 or ratio == 1):
        ratio = None
    if ratio is not None and picture.swaps_sides:
        ratio = 1 / ratio
    rate = stream.average_rate
    return VideoInfo(
        width=picture.width,
        height=picture.height,
        time_base=time_base,
        average_rate=Fraction(rate) if rate else None,
        frames=stream.frames or None,
        duration=duration,
        sample_aspect_ratio=None if ratio is None else Fraction(ratio),
        container=container.format.name,
        codec=stream.codec_context.name,
        audio_tracks=len(container.streams.audio),
        origin=origin_of(container, stream),
    )


if __name__ == "__main__":
    serve(work)
