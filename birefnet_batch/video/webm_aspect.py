"""The shape of a WebM track's pixels: libav's muxer takes it from a place that PyAV cannot reach.

Matroska has no shape of pixels: a track's video says at what size it is shown (RFC 9559, section 5.1.4.1.28). That is
written into the finished file, whose elements stay where they are: numbers that the muxer wrote with leading zeros
give up the bytes that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from birefnet_batch.errors import OutputError

_SEGMENT, _TRACKS, _TRACK, _VIDEO, _UID = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x73C5
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x54B0, 0x54BA
_MOST_HEADERS = 1 << 20
_LONGEST_SIZE = 8


def set_pixel_shape(path: Path, width: int, height: int, ratio: Fraction) -> None:
    """Have a file's only video track shown with pixels of that shape.

    Args:
        path: a finished WebM file whose first track is the video.
        width: of the pictures, in pixels as coded.
        height: likewise.
        ratio: a pixel's width over its height. The file has whole pixels of the size at which it is shown: the longer
            side is off by up to half a one.

    Raises:
        OutputError: the file is not laid out as libav's muxer does it.
        OSError: the file cannot be written.
    """
    shown = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
    with path.open("r+b") as file:
        head = file.read(_MOST_HEADERS)
        place, end, track = _track(path, head)
        children = []
        for kind, start, after in _elements(track, 0, len(track)):
            content = track[start:after]
            if kind == _UID:
                content = content.lstrip(b"\0")
            elif kind == _VIDEO:
                content += _element(_DISPLAY_WIDTH, _number(shown[0])) + _element(_DISPLAY_HEIGHT, _number(shown[1]))
            children.append(_element(kind, content))
        made = b"".join(children)
        room = end - place - len(made) - 1
        if not _shortest(len(made)) <= room <= _LONGEST_SIZE:
            raise OutputError(f"{path} has no room for the shape of its pixels; please report it")
        file.seek(place)
        file.write(_TRACK.to_bytes(1) + _size(len(made), room) + made)


def _track(path: Path, head: bytes) -> tuple[int, int, bytes]:
    """Where the first track begins and ends, and what is in it."""
    for kind, start, after in _elements(head, 0, len(head)):
        if kind != _SEGMENT:
            continue
        for inner, inside, _ in _elements(head, start, min(after, len(head))):
            if inner == _TRACKS:
                _, content, end = next(_elements(head, inside, len(head)))
                return inside, end, head[content:end]
    raise OutputError(f"{path} has no track within its first {_MOST_HEADERS} bytes; please report it")


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start of the content and end of each element between two places."""
    while start < end:
        after_kind = start + _LONGEST_SIZE + 1 - data[start].bit_length()
        length = _LONGEST_SIZE + 1 - data[after_kind].bit_length()
        inside = after_kind + length
        size = int.from_bytes(data[after_kind:inside]) & ((1 << 7 * length) - 1)
        yield int.from_bytes(data[start:after_kind]), inside, inside + size
        start = inside + size


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


def _element(kind: int, content: bytes) -> bytes:
    return _number(kind) + _size(len(content), _shortest(len(content))) + content


def _shortest(size: int) -> int:
    """How many bytes a size takes; one with all bits set means that it is not known."""
    return next(length for length in range(1, _LONGEST_SIZE + 1) if size < (1 << 7 * length) - 1)


def _size(size: int, length: int) -> bytes:
    return (1 << 7 * length | size).to_bytes(length)
