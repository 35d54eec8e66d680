"""The joiner's own process: `python -m birefnet_batch.video.join_process`, started by `join_parts`."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer

from birefnet_batch.errors import OutputError
from birefnet_batch.video.audio import AudioTracks
from birefnet_batch.video.child import serve
from birefnet_batch.video.encode import EncodeSpec
from birefnet_batch.video.join import JoinedFacts, JoinTask, Working
from birefnet_batch.video.x264 import container_options, even, output_errors

_TICK_S = 1.0


def work(connection: Connection[Any, Any], memory: int, task: JoinTask) -> None:
    """Send `Working` now and then, and `JoinedFacts` at the end."""
    with ExitStack() as context:
        try:
            facts = _join(connection, task, context)
        except BaseException:
            task.destination.unlink(missing_ok=True)
            raise
    connection.send(facts)


def _join(connection: Connection[Any, Any], task: JoinTask, context: ExitStack) -> JoinedFacts:
    spec = task.spec
    order = sorted(pts for part in task.parts for pts in _times(part))
    if not order:
        raise OutputError(f"{task.destination} would be empty: no frame was encoded")
    audio = context.enter_context(AudioTracks(task.audio_from))
    with output_errors(task.destination):
        options = {**container_options(spec), "movflags": "+faststart"}
        output = av.open(str(task.destination), "w", format="mp4", options=options)
        with output:
            video = _video_packets(task, order, output)
            first = next(video)
            audio.add_streams(output)
            told = time.monotonic()
            ahead = heapq.merge(_chain(first, video), *audio.packets(), key=lambda item: item[0])
            for _, packet in ahead:
                output.mux_one(packet)
                if time.monotonic() - told > _TICK_S:
                    told = time.monotonic()
                    connection.send(Working())
    seconds = (task.end - order[0]) * spec.time_base
    return JoinedFacts(
        frames=len(order),
        duration_s=float(seconds),
        fps=float(len(order) / seconds) if seconds else 0.0,
        width=even(spec.width),
        height=even(spec.height),
        size=task.destination.stat().st_size,
        audio_tracks=audio.count,
        notes=(*_padding_note(spec), *audio.notes),
    )


def _times(part: Path) -> Iterator[int]:
    with av.open(str(part)) as container:
        for packet in container.demux(video=0):
            if packet.pts is not None and packet.size:
                yield packet.pts


def _video_packets(
    task: JoinTask, order: list[int], output: OutputContainer
) -> Iterator[tuple[Fraction, av.Packet[Any]]]:
    """The parts' packets with decode times made anew from the presentation times of the whole.

    Each part's own decode times start before its first picture, so they would run into those of the part before.
    A packet's decode time is the presentation time that stands as many places before its own place as the deepest
    reordering needs, which is what an encoder of the whole would have given.
    """
    base = task.spec.time_base
    ranks = {pts: rank for rank, pts in enumerate(order)}
    delay = max(place - ranks[pts] for place, pts in enumerate(pts for part in task.parts for pts in _times(part)))
    step = min((after - before for before, after in pairwise(order)), default=1)
    stream = None
    place = 0
    for part in task.parts:
        with av.open(str(part)) as container:
            template = container.streams.video[0]
            if stream is None:
                stream = output.add_stream_from_template(template)
                stream.time_base = base
            for packet in container.demux(template):
                if packet.pts is None or not packet.size:
                    continue
                rank = ranks[packet.pts]
                after = order[rank + 1] if rank + 1 < len(order) else task.end
                packet.duration = after - packet.pts
                before = place - delay
                packet.dts = order[before] if before >= 0 else order[0] + before * step
                packet.time_base = base
                packet.stream = stream
                place += 1
                yield packet.dts * base, packet


def _chain(
    first: tuple[Fraction, av.Packet[Any]], rest: Iterator[tuple[Fraction, av.Packet[Any]]]
) -> Iterator[tuple[Fraction, av.Packet[Any]]]:
    yield first
    yield from rest


def _padding_note(spec: EncodeSpec) -> Iterator[str]:
    if even(spec.width) != spec.width or even(spec.height) != spec.height:
        yield (
            f"padded from {spec.width}x{spec.height} to {even(spec.width)}x{even(spec.height)}: "
            "H.264 yuv420p has no odd sides"
        )


if __name__ == "__main__":
    serve(work)
