"""What a safetensors file says that it holds, judged before anything of that size is made.

The format: eight bytes with the header's length, little-endian; the header, JSON; the tensors' bytes without gaps
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from birefnet_batch.models.file_text import listed, shown

# The format allows 100 MB, of which a parser makes gigabytes. The largest network here has 754 tensors in 109 kB, with
# 5,700 of the marks that begin a value; there is room for as many again ten times, and for notes of who trained it.
MOST_BYTES = 2 << 20
MOST_VALUES = 1 << 16
_MARKS = (b"{", b"[", b",")
_MOST_SIDES = 16
_MOST_NUMBER = 1 << 63
_PREFIX = 8
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class HeaderError(Exception):
    """What is wrong with a file; half a sentence."""


class _Entry(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    end: int


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a safetensors file.

    Returns:
        By name the format's name of the type and the shape.

    Raises:
        HeaderError: it is no such file, has a header that none of our networks needs, or is shorter or longer than
            its header says.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_PREFIX), "little")
        if size < _PREFIX or not 2 <= length <= size - _PREFIX:
            raise HeaderError(
                f"its {size:,} bytes do not begin with a header"
                + (f" of {length:,} bytes, as they claim" if size >= _PREFIX else "")
            )
        if length > MOST_BYTES:
            raise HeaderError(
                f"its header has {length:,} bytes, and at most {MOST_BYTES:,} are read, many times what those of "
                "networks here have"
            )
        entries = _parsed(file.read(length))
    end = max((entry.end for entry in entries.values()), default=0)
    there = size - _PREFIX - length
    if there < end:
        cut = [name for name, entry in sorted(entries.items(), key=lambda item: item[1].end) if entry.end > there]
        raise HeaderError(
            f"it is truncated: its tensors have {end:,} bytes, and {there:,} are there; {len(cut):,} of its "
            f"{len(entries):,} tensors are not or not all there: {listed(cut)}"
        )
    if there > end:
        raise HeaderError(f"{there - end:,} bytes follow its tensors")
    return {name: (entry.kind, entry.shape) for name, entry in entries.items()}


def _parsed(text: bytes) -> dict[str, _Entry]:
    # Counted first: a value of two characters becomes an object of a hundred bytes.
    if sum(text.count(mark) for mark in _MARKS) > MOST_VALUES:
        raise HeaderError(
            f"its header has more than {MOST_VALUES:,} values, many times what those of networks here have"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise HeaderError("its header is no mapping of tensors")
    header.pop("__metadata__", None)
    return {name: _entry(name, entry) for name, entry in header.items()}


def _entry(name: str, entry: Any) -> _Entry:
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = (*shape, start, end)
        right = all(type(number) is int and 0 <= number < _MOST_NUMBER for number in numbers)
        right = right and isinstance(kind, str) and len(shape) <= _MOST_SIDES
    except (KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise HeaderError(f"its header describes {shown(name)} in a way that the format does not have")
    if kind not in _BYTES:
        raise HeaderError(f"{shown(name)} is of type {shown(kind)}; the types are {', '.join(_BYTES)}")
    if end - start != math.prod(shape) * _BYTES[kind]:
        raise HeaderError(f"its header gives {shown(name)} of shape {shape} and type {kind} {end - start:,} bytes")
    return _Entry(kind, shape, end)
