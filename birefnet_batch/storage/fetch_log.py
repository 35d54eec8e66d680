"""A line now and then about a fetch that takes long."""

from __future__ import annotations

import logging
import time

from rich.filesize import decimal

from birefnet_batch.url_redaction import redact

_log = logging.getLogger(__name__)
_EVERY_S = 10.0


class FetchLog:
    """Told of bytes as they come; logs how far it is every ten seconds.

    Args:
        uri: what is fetched.
        start: bytes that were there before; they are no part of the rate.
    """

    def __init__(self, uri: str, start: int = 0) -> None:
        self._shown = redact(uri)
        self._start = start
        self._began = self._next = time.monotonic()

    def __call__(self, count: int, size: int | None) -> None:
        """So many bytes of so many are there."""
        now = time.monotonic()
        if now - self._next < _EVERY_S:
            return
        self._next = now
        share = f" of {decimal(size)}" if size is not None else ""
        rate = decimal(round((count - self._start) / max(now - self._began, 1e-3)))
        _log.info("fetching %s: %s%s, %s/s", self._shown, decimal(count), share, rate)
