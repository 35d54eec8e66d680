"""What a safetensors file says that it holds, judged before anything of that size is made.

The format: eight bytes with the header's length, little-endian; the header, JSON; the tensors' bytes without gaps
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

# The format's own limit.
_MAX_HEADER = 100_000_000
_PREFIX = 8
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class HeaderError(Exception):
    """What is wrong with a file; half a sentence."""


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a safetensors file.

    Returns:
        By name the format's name of the type and the shape.

    Raises:
        HeaderError: it is no such file, or shorter or longer than its header says.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_PREFIX), "little")
        if size < _PREFIX or not 2 <= length <= min(_MAX_HEADER, size - _PREFIX):
            raise HeaderError(
                f"its {size:,} bytes do not begin with a header"
                + (f" of {length:,} bytes, as they claim" if size >= _PREFIX else "")
            )
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise HeaderError(f"its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise HeaderError("its header is no mapping of tensors")
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            kind, shape, offsets = _entry(name, entry)
            tensors[name] = (kind, shape)
            end = max(end, offsets[1])
    there = size - _PREFIX - length
    if there < end:
        raise HeaderError(f"it is truncated: its tensors have {end:,} bytes, and {there:,} are there")
    if there > end:
        raise HeaderError(f"{there - end:,} bytes follow its tensors")
    return tensors


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = (*shape, start, end)
        right = all(type(number) is int and number >= 0 for number in numbers)
    except (KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise HeaderError(f"its header describes {name} in a way that the format does not have")
    if kind not in _BYTES:
        raise HeaderError(f"{name} is of type {kind}; the types are {', '.join(_BYTES)}")
    if end - start != math.prod(shape) * _BYTES[kind]:
        raise HeaderError(f"its header gives {name} of shape {shape} and type {kind} {end - start:,} bytes")
    return kind, shape, (start, end)
