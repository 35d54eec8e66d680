"""Languages of MOV tracks: libav's muxer knows Macintosh's codes alone, so that `deu` or `swe` would be lost.

QuickTime has a second form for the same two bytes: three letters of ISO 639-2, five bits each, as in MP4 (QuickTime
File Format, "Language code values"). It is written where the muxer found no code, into the finished file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from birefnet_batch.video.mp4_boxes import boxes

_UNSPECIFIED = 0x7FFF
_CODE = re.compile("[a-z]{3}")
# Where the language stands in a media header, in bytes from its content's start, by the header's version.
_PLACE = {0: 20, 1: 32}


def keep_languages(path: Path, languages: Sequence[str | None]) -> None:
    """Write the languages that the muxer did not know.

    Args:
        path: a finished MOV file.
        languages: ISO 639-2 codes of its tracks, in their order; other words are passed over.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("r+b") as file:
        headers = list(_headers(file, 0, os.fstat(file.fileno()).st_size))
        for start, language in zip(headers, languages, strict=False):
            if language is None or not _CODE.fullmatch(language) or language == "und":
                continue
            file.seek(start)
            place = start + _PLACE[file.read(1)[0]]
            file.seek(place)
            if int.from_bytes(file.read(2)) == _UNSPECIFIED:
                file.seek(place)
                file.write(_packed(language).to_bytes(2))


def _packed(language: str) -> int:
    first, second, third = (ord(letter) - 0x60 for letter in language)
    return first << 10 | second << 5 | third


def _headers(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Where the content of each track's media header begins."""
    for kind, inside, after in boxes(file, start, end):
        if kind in (b"moov", b"trak", b"mdia"):
            yield from _headers(file, inside, after)
        elif kind == b"mdhd":
            yield inside
