"""Files that end before their own structure does: half a download looks like a shorter video otherwise.

Some demuxers stop at a premature end as at a regular one, so what the file promises is compared with its size.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from birefnet_batch.video.mp4_boxes import boxes

_MP4_MEDIA = (b"moov", b"moof", b"mdat")
_MP4_FIRST = (b"ftyp", b"styp", b"wide", b"free", b"skip", b"pnot", *_MP4_MEDIA)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes an MP4, QuickTime, Matroska, WebM, AVI or GIF file lacks at its end; 0 where that cannot be told.

    Args:
        file: open for reading; its position is kept.
    """
    position = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[4:8] in _MP4_FIRST:
            promised = _end_of_mp4(file, size)
        elif head[:4] == _EBML:
            promised = _end_of_matroska(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            promised = _end_of_avi(file, size)
        elif head[:6] in (b"GIF87a", b"GIF89a"):
            promised = _end_of_gif(file)
        else:
            promised = 0
        return max(0, promised - size)
    finally:
        file.seek(position)


def _end_of_mp4(file: BinaryIO, size: int) -> int:
    return max((after for kind, _, after in boxes(file, 0, size) if kind in _MP4_MEDIA), default=0)


def _end_of_matroska(file: BinaryIO) -> int:
    file.seek(4)
    length = _ebml_length(file)
    if length is None:
        return 0
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _ebml_length(file)
    # A recording that was written to a stream does not know its length.
    return 0 if length is None else file.tell() + length


def _ebml_length(file: BinaryIO) -> int | None:
    """An element's length; None where it is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    length = int.from_bytes(bytes([first[0] & (0x7F >> extra)]) + file.read(extra), "big")
    return None if length == (1 << 7 * (extra + 1)) - 1 else length


def _end_of_avi(file: BinaryIO, size: int) -> int:
    start = end = 0
    while start + 12 <= size:
        file.seek(start)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or not length:
            # A recorder that lost power never filled the length in.
            return end
        start += 8 + length + length % 2
        end = start - length % 2
    return end


def _end_of_gif(file: BinaryIO) -> int:
    """A GIF is a row of blocks that ends with a trailer; none says how long the file is (GIF89a, sections 12 to 27)."""
    file.seek(10)
    _skip_colours(file)
    file.seek(2, os.SEEK_CUR)
    while True:
        kind = file.read(1)
        if kind == b"\x3b":
            return file.tell()
        if kind == b"\x21":
            file.seek(1, os.SEEK_CUR)
        elif kind == b"\x2c":
            file.seek(8, os.SEEK_CUR)
            _skip_colours(file)
            file.seek(1, os.SEEK_CUR)
        else:
            # Nothing at all: the trailer is missing. Something else: it is damaged, not cut.
            return 0 if kind else file.tell() + 1
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], os.SEEK_CUR)


def _skip_colours(file: BinaryIO) -> None:
    """Read a byte of flags and skip the table of colours that it announces."""
    flags = file.read(1)
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 0x07) + 1), os.SEEK_CUR)
