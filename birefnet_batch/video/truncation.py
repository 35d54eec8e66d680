"""Files that end before their own structure does: half a download looks like a shorter video otherwise.

Some demuxers stop at a premature end as at a regular one, so what the file promises is compared with its size.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from birefnet_batch.video.mp4_boxes import boxes

_MP4_MEDIA = (b"moov", b"moof", b"mdat")
_MP4_FIRST = (b"ftyp", b"styp", b"wide", b"free", b"skip", b"pnot", *_MP4_MEDIA)
# A header partition, closed and complete or not (SMPTE ST 377-1, section 7), but for the byte that says which.
_MXF = bytes.fromhex("060e2b34020501010d0102010102")
_FLV_LENGTH = b"\x00\x08filesize\x00"  # a property's name and the type of its value, a double
_Y4M = b"YUV4MPEG2 "
# Planes' sizes by the colour space's first digits, in halves of the luma plane's sides (y4m's manual page).
_Y4M_CHROMA = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "411": (4, 1)}
_Y4M_FRAME = b"FRAME\n"
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes a file lacks at its end, at least; 0 where that cannot be told.

    It can of MP4, QuickTime, Matroska, WebM, AVI, GIF and MXF, and of YUV4MPEG2 that is cut within a frame.

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
        elif head == _MXF[:12]:
            promised = _footer_of_mxf(file) + 1
        elif head[:10] == _Y4M:
            promised = _end_of_y4m(file, size)
        else:
            promised = 0
        return max(0, promised - size)
    finally:
        file.seek(position)


def flv_length(file: BinaryIO) -> int:
    """How many bytes an FLV file has by its own first words; 0 where it does not say.

    Args:
        file: open for reading, at its beginning.
    """
    _, found, after = file.read(4096).partition(_FLV_LENGTH)
    length: float = struct.unpack(">d", after[:8])[0] if found and len(after) >= 8 else 0.0
    return int(length) if 0 < length < 2**53 else 0


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


def _footer_of_mxf(file: BinaryIO) -> int:
    """Where the footer begins; -1 where the file does not say, as while it is written."""
    file.seek(0)
    key = file.read(16)
    if key[:14] != _MXF:
        return -1
    first = file.read(1)
    if first and first[0] & 0x80:
        file.seek(first[0] & 0x7F, os.SEEK_CUR)
    # Versions, grid, this partition and the one before.
    file.seek(2 + 2 + 4 + 8 + 8, os.SEEK_CUR)
    return int.from_bytes(file.read(8), "big") or -1


def _end_of_y4m(file: BinaryIO, size: int) -> int:
    """The end of the frame in which the file ends; 0 where its frames may have different lengths."""
    file.seek(0)
    header = file.readline(1024)
    words = {word[:1]: word[1:] for word in header.decode("latin-1").split()[1:]}
    space = words.get("C", "420")
    if not (words.get("W", "").isdecimal() and words.get("H", "").isdecimal()) or file.read(6) != _Y4M_FRAME:
        return 0
    width, height = int(words["W"]), int(words["H"])
    samples = width * height
    if space[:3] in _Y4M_CHROMA:
        across, down = _Y4M_CHROMA[space[:3]]
        samples += 2 * (-(-width // across) * -(-height // down)) + samples * space.endswith("alpha")
    elif not space.startswith("mono"):
        return 0
    deep = space[4:] if space.startswith("mono") else space[4:] if space[3:4] == "p" else ""
    frame = len(_Y4M_FRAME) + samples * (2 if deep.isdecimal() and int(deep) > 8 else 1)
    return len(header) + -(-(size - len(header)) // frame) * frame


def _skip_colours(file: BinaryIO) -> None:
    """Read a byte of flags and skip the table of colours that it announces."""
    flags = file.read(1)
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 0x07) + 1), os.SEEK_CUR)
