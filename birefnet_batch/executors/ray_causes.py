"""Why a worker was lost, as far as Ray tells it."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What Ray lists of an actor between its first sentence and the cause.
_ABOUT = re.compile(r"(class_name|actor_id|pid|name|namespace|ip|port): ")
_FIRST = re.compile(r"The actor died (unexpectedly )?before finishing this task\.?")
_LIMIT = 400


def cause(error: Exception) -> str:
    """The gist of one of Ray's errors, which may fill a page, on one line without its last full stop."""
    lines = [_COLOUR.sub("", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not _ABOUT.match(line)]
    if not lines:
        return type(error).__name__
    if any(line.startswith("File ") for line in lines):
        # The trace of an exception inside a worker ends with what was raised.
        return lines[-1]
    if len(lines) > 1 and _FIRST.fullmatch(lines[0]):
        # What follows says why.
        lines = lines[1:]
    told = " ".join(lines)
    if len(told) > _LIMIT:
        whole, _, part = told[:_LIMIT].rpartition(". ")
        told = whole or f"{part.rpartition(' ')[0]} ..."
    return told.removesuffix(".") if not told.endswith("...") else told
