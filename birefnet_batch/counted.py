"""Counts in sentences."""

from __future__ import annotations

import re

_SEVERAL = re.compile(r"\b(frame|jump|packet|subtitle)s\b")
_VERBS = re.compile(r"\b(were|are)\b")
_ONE = {"were": "was", "are": "is"}


def counted(count: int, text: str) -> str:
    """A count and the words after it, which are given as for several of a few things, and what they do."""
    if count == 1:
        text = _SEVERAL.sub(r"\1", text, count=1)
        text = _VERBS.sub(lambda verb: _ONE[verb[0]], text, count=1)
    return f"{count} {text}"
