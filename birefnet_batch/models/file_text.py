"""Text that comes out of a file, as it may be shown: a name in a checkpoint could move a terminal's cursor."""

from __future__ import annotations

from collections.abc import Collection

_MOST = 200
_MOST_NAMES = 6


def printable(text: str) -> str:
    """The text with what no terminal shows, or obeys, as escapes: control and formatting characters, surrogates."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shown(text: str, most: int = _MOST) -> str:
    """Like `printable`, and of a text longer than `most` characters its beginning and how long it is."""
    if len(text) <= most:
        return printable(text)
    return f"{printable(text[:most])}... ({len(text):,} characters)"


def listed(names: Collection[str]) -> str:
    """The first few of them, as shown."""
    first = [shown(name) for name, _ in zip(names, range(_MOST_NAMES), strict=False)]
    return f"{', '.join(first)}{', ...' if len(names) > _MOST_NAMES else ''}"
