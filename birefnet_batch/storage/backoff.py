"""Waiting longer after each failure, by chance, so that many workers do not come back at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from birefnet_batch.errors import FetchError
from birefnet_batch.storage.remote import PassingError

_FIRST_S, _MOST_S = 0.5, 30.0
_LONGEST_ASKED_S = 300.0
T = TypeVar("T")


class Cancelled(Exception):
    """The wait was ended because nobody needs its result any more."""


class Retries:
    """Counts failures in a row and waits between them ("full jitter", AWS Architecture Blog, 2015).

    Args:
        shown: what is read, for messages.
        most: how many failures in a row may pass.
        stop: ends a wait.
    """

    def __init__(self, shown: str, most: int, stop: threading.Event | None = None) -> None:
        self._shown = shown
        self._most = most
        self._stop = stop or threading.Event()
        self._failures = 0

    def succeeded(self) -> None:
        """Something came: the next failure is a first one."""
        self._failures = 0

    def failed(self, error: PassingError) -> None:
        """Wait before the next try.

        Raises:
            FetchError: there were too many failures, or the server asks for too long a wait.
            Cancelled: `stop` was set.
        """
        self._failures += 1
        if self._failures > self._most:
            tries = f"after {self._failures} tries in a row " if self._failures > 1 else ""
            raise FetchError(
                f"{self._shown} cannot be fetched: {error}; given up {tries}(storage.max_retries={self._most}); "
                "check the URL and try again"
            )
        if error.after_s is not None and error.after_s > _LONGEST_ASKED_S:
            raise FetchError(
                f"{self._shown} cannot be fetched: {error}, and is to be asked again in {error.after_s:g} s"
            )
        wait = random.uniform(0, min(_MOST_S, _FIRST_S * 2**self._failures))
        if self._stop.wait(max(wait, error.after_s or 0.0)):
            raise Cancelled


def retried(call: Callable[[], T], shown: str, most: int) -> T:
    """Call until it succeeds.

    Raises:
        FetchError: it failed too often.
    """
    retries = Retries(shown, most)
    while True:
        try:
            return call()
        except PassingError as error:
            retries.failed(error)
