"""What tells one version of an input from another without reading it."""

from __future__ import annotations

from dataclasses import dataclass

from birefnet_batch.errors import InputError

UNVERSIONED = "unversioned"
"""Stands in a fingerprint where a server names no version."""


@dataclass(frozen=True)
class SourceFacts:
    """Facts of an input from its folder entry, its HTTP headers or its bucket's listing."""

    size: int | None
    """Bytes; None where a server does not say."""
    fingerprint: str
    """Size and mtime, the ETag, or the digest of a data URI."""
    version: str | None = None
    """The ETag or its like, to notice a change while the input is read; None where there is none."""
    ranges: bool = True
    """Whether any part of it can be asked for."""

    @property
    def is_blind(self) -> bool:
        """Whether another content of the same length has the same fingerprint."""
        return self.fingerprint.endswith(UNVERSIONED)


def changed(shown: object) -> InputError:
    """The error of an input whose facts are others after it was read; `shown` names it without secrets."""
    return InputError(f"{shown} changed while it was read; run it again when nothing writes to it")
