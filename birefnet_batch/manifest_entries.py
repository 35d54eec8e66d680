"""An entry of a manifest, and what is kept of one that is no request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_batch.errors import ManifestError
from birefnet_batch.url_redaction import redact_text

_MOST_REASONS = 50
BAD_TAG = "a value does not fit its tag, such as !!int or !!bool; leave the tag out"
"""Why a YAML file cannot be read where its library only fails."""
BAD_TAG_ERRORS = (AttributeError, KeyError, IndexError)
"""How the library fails there."""
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Entry:
    """What stands at a place of a manifest, before it is looked at."""

    place: str
    value: Any


class BadLine:
    """An entry that is not even data; reported in its place like any other."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True)
class InvalidEntry:
    """An entry that is no request: where it is, and all that is wrong with it, without secrets and not without end."""

    place: str
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        shown = tuple(short(redact_text(reason)) for reason in self.reasons[:_MOST_REASONS])
        if len(self.reasons) > len(shown):
            shown += (f"and {len(self.reasons) - len(shown)} more",)
        object.__setattr__(self, "reasons", shown)

    def to_json(self) -> str:
        """The line of a run's record, without its end."""
        return json.dumps(vars(self), ensure_ascii=False)


def unreadable(place: str | Path, *reasons: str) -> ManifestError:
    """The error of a manifest that cannot be read as a whole."""
    return ManifestError(f"The manifest {place} cannot be read", reasons)


def short(text: str) -> str:
    """A text for one line of a message, cut where it is too long for one."""
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 3]}..."
