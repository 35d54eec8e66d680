"""The decoder's own process: `python -m birefnet_batch.video.decode_process`, started by `FrameReader`."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from birefnet_batch.counted import Note
from birefnet_batch.storage.growing_file import open_file
from birefnet_batch.video.child import Pulse, serve
from birefnet_batch.video.container import has_alpha
from birefnet_batch.video.decoding import open_video
from birefnet_batch.video.facts import info_of
from birefnet_batch.video.frame_range import FrameRange, Place
from birefnet_batch.video.messages import Decoded, DecodeEnd, DecodeTask, Start
from birefnet_batch.video.picture import Picture
from birefnet_batch.video.timestamps import Timeline
from birefnet_batch.video.truncation import flv_length


def work(connection: Connection[Any, Any], memory: int, task: DecodeTask) -> None:
    """Send a VideoInfo, then, after `Start`, the frames, then `DecodeEnd`."""
    with open_video(task.path, task.corrupt) as (container, stream, decoder):
        shortened = tuple(_shortened(task.path, container))
        picture = Picture(decoder.first, task.wide, has_alpha(stream))
        info = info_of(container, stream, decoder, picture)
        connection.send(info)
        start = connection.recv()
        assert isinstance(start, Start)
        size = info.frame_bytes(task.wide)
        slots = np.frombuffer(mmap.mmap(memory, start.slots * size), np.uint8).reshape(start.slots, size)
        timeline = Timeline(round(info.origin / info.time_base), info.time_base, info.average_rate)
        chosen = FrameRange(task, decoder)
        _send_frames(connection, slots, timeline, chosen, picture)
        chosen.check_end()
    notes = (*_notes(chosen, picture, timeline), *shortened)
    connection.send(DecodeEnd(chosen.corrupt_frames, notes))


def _send_frames(
    connection: Connection[Any, Any],
    slots: NDArray[np.uint8],
    timeline: Timeline,
    chosen: FrameRange,
    picture: Picture,
) -> None:
    free = list(range(len(slots)))
    # A frame is sent when the next one is known, for then it is known how long it lasts.
    waiting: Decoded | None = None
    pulse = Pulse(connection)
    for place, index, frame in chosen:
        if place is Place.again:
            pulse()
            continue
        pts = timeline.place(frame)
        if waiting is not None:
            connection.send(waiting.until(pts))
            waiting = None
        if place is Place.after:
            return
        if place is Place.before:
            pulse()
            continue
        while not free or connection.poll():
            free.append(connection.recv())
        slot = free.pop()
        picture.write(frame, slots[slot])
        waiting = Decoded(index, slot, pts, timeline.duration(frame))
    if waiting is not None:
        connection.send(waiting)


def _notes(chosen: FrameRange, picture: Picture, timeline: Timeline) -> Iterator[Note]:
    if chosen.corrupt_frames:
        yield Note("corrupt frames could not be decoded, or only in part", chosen.corrupt_frames)
    if chosen.deinterlaced:
        yield Note("frames were deinterlaced", chosen.deinterlaced)
    if picture.transparent:
        yield Note("the source has transparency of its own, which was multiplied into the matte")
    if picture.left_out:
        yield Note("frames with an alpha channel were made opaque: the first one has none", picture.left_out)
    if picture.resized:
        yield Note(f"frames of another size were scaled to {picture.width}x{picture.height}", picture.resized)
    yield from timeline.notes()


def _shortened(path: bytes, container: InputContainer) -> Iterator[Note]:
    """What is said of an FLV file that is shorter than it says; other programs may have edited it."""
    if container.format.name != "flv":
        return
    with open_file(path) as file:
        said, size = flv_length(file), os.fstat(file.fileno()).st_size
    if said > size:
        yield Note(f"the file says that it has {said} bytes, and it has {size}: its end may be missing")


if __name__ == "__main__":
    serve(work)
