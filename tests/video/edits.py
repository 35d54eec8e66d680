"""MP4 and QuickTime files of which parts are cut out by an edit list alone, as players and phones trim them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path


def edit(path: Path, edits: Sequence[tuple[float, float]]) -> Path:
    """Give every track of a file that libav wrote these edits: where each begins and how long it is, in seconds.

    `moov` comes last, so that its new size moves nothing.
    """
    path.write_bytes(_edited(path.read_bytes(), edits, 0, 0))
    return path


def hide_first(path: Path, frames: int) -> Path:
    """Begin so many frames in, as a phone's trim does: the samples stay, the edit list hides them.

    Of an MP4 of 25 frames a second that libav wrote.
    """
    data = bytearray(path.read_bytes())
    # After version and flags, count and the edit's duration: its start in the media.
    start = data.index(b"elst") + 4 + 8 + 4
    assert int.from_bytes(data[start : start + 4], "big") == 0
    data[start : start + 4] = (frames * 512).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def _edited(content: bytes, edits: Sequence[tuple[float, float]], movie: int, media: int) -> bytes:
    movie, media = _ticks(content, b"mvhd") or movie, _ticks(content, b"mdhd") or media
    out = b""
    while content:
        size, kind = struct.unpack_from(">I4s", content)
        inside, content = content[8:size], content[size:]
        if kind in (b"moov", b"trak"):
            inside = _edited(inside, edits, movie, media)
        elif kind == b"edts":
            entries = [
                struct.pack(">IiI", round(seconds * movie), round(start * media), 1 << 16) for start, seconds in edits
            ]
            inside = struct.pack(">I4sII", 16 + 12 * len(edits), b"elst", 0, len(edits)) + b"".join(entries)
        out += struct.pack(">I4s", 8 + len(inside), kind) + inside
    return out


def _ticks(content: bytes, kind: bytes) -> int | None:
    """Ticks a second as the first header of a kind says them, in its version 0."""
    at = content.find(kind)
    return None if at < 0 else int.from_bytes(content[at + 16 : at + 20])
