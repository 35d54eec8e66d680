"""Reads files out of Qt's binary resource files (.rcc), for which there is no small library."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

COMPRESSED, FOLDER = 1, 2
NODE = {1: 14, 2: 22, 3: 22}  # bytes, by the format's version


def read(path: Path, wanted: str) -> bytes:
    """Return the file that is called `wanted` (with slashes) in a resource file."""
    content = path.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4s4I", content)
    if magic != b"qres" or version not in NODE:
        raise SystemExit(f"error: {path} is no Qt resource file that we can read (version {version})")

    def name(node: int) -> str:
        place = names + struct.unpack_from(">I", content, node)[0]
        length = struct.unpack_from(">H", content, place)[0]
        return content[place + 6 : place + 6 + 2 * length].decode("utf-16-be")

    node = tree
    for part in wanted.split("/"):
        count, first = struct.unpack_from(">II", content, node + 6)
        children = (tree + (first + index) * NODE[version] for index in range(count))
        found = next((child for child in children if name(child) == part), None)
        if found is None:
            raise SystemExit(f"error: {path} holds no {wanted}; is this another version of the package?")
        node = found
    flags = struct.unpack_from(">H", content, node + 4)[0]
    if flags & ~COMPRESSED:
        raise SystemExit(f"error: {wanted} in {path} is a folder, or packed in a way that we cannot read")
    place = data + struct.unpack_from(">I", content, node + 10)[0]
    length = struct.unpack_from(">I", content, place)[0]
    packed = content[place + 4 : place + 4 + length]
    return zlib.decompress(packed[4:]) if flags & COMPRESSED else packed
