"""Counts in sentences, and those of a video's segments as one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SEVERAL = re.compile(r"\b(frame|jump|packet|subtitle)s\b")
_VERBS = re.compile(r"\b(were|are)\b")
_ONE = {"were": "was", "are": "is"}


def counted(count: int, text: str) -> str:
    """A count and the words after it, which are given as for several of a few things, and what they do."""
    if count == 1:
        text = _SEVERAL.sub(r"\1", text, count=1)
        text = _VERBS.sub(lambda verb: _ONE[verb[0]], text, count=1)
    return f"{count} {text}"


@dataclass(frozen=True)
class Note:
    """Something to say of a segment; small and picklable, and kept in the record beside its parts."""

    text: str
    """A sentence, or what follows the count, in words for several."""
    count: int | None = None
    """How often it happened."""


def summed_notes(notes: Iterable[Note]) -> list[str]:
    """What is said of a video for the notes of all its segments: counts are added up, and other notes are kept once."""
    counts: dict[str, int | None] = {}
    for note in notes:
        counts[note.text] = None if note.count is None else (counts.get(note.text) or 0) + note.count
    return [text if count is None else counted(count, text) for text, count in counts.items()]
