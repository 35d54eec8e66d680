"""Whether all frames of a file are there, as far as the file itself tells."""

from __future__ import annotations

import os

from av.container import InputContainer
from av.video.stream import VideoStream

from birefnet_batch.errors import InputError
from birefnet_batch.storage.growing_file import open_file
from birefnet_batch.video.truncation import missing_bytes

INCOMPLETE = "it was not copied or downloaded completely"
"""Why a file ends early, for messages."""


def check_whole(path: bytes, container: InputContainer, stream: VideoStream) -> None:
    """Refuse a file that says of itself that it ends early, unless all its frames are there.

    Raises:
        InputError: frames are missing.
    """
    with open_file(path) as file:
        missing = missing_bytes(file)
        size = os.fstat(file.fileno()).st_size
    if not missing:
        return
    shown = os.fsdecode(path)
    if _has_table(container, stream):
        there = sum(entry.pos + entry.size <= size for entry in stream.index_entries)
        if there == len(stream.index_entries):
            # What is missing is sound.
            return
        raise InputError(f"{shown} ends early: {there} of {len(stream.index_entries)} frames are there; {INCOMPLETE}")
    raise InputError(f"{shown} ends early: {missing} of {size + missing} bytes are missing; {INCOMPLETE}")


def _has_table(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file lists every frame: MP4 and QuickTime do, unless they are fragmented.

    An AVI's count is no such table: it counts frames that are repeated and hold no data.
    """
    return "mov" in container.format.name.split(",") and bool(stream.frames)


def listed_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """How many frames the file lists, hidden ones too; None where it does not list every one."""
    # The index rather than the sample count: an edit list hides samples, a repeated edit shows them twice. One without
    # bytes is QuickTime's word for the frame before it, once more.
    return sum(entry.size > 0 for entry in stream.index_entries) if _has_table(container, stream) else None


def shown_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """How many frames are shown, as the file says; None where it does not."""
    if _has_table(container, stream):
        return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries)
    return stream.frames or None
