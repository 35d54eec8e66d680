"""What every kind of remote input offers: facts, and bytes from any place on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator

from birefnet_batch.storage.facts import SourceFacts


class PassingError(Exception):
    """A read failed in a way that may pass: a dropped connection, 429, 5xx.

    Args:
        reason: what happened, for people.
        after_s: how long the server asks to wait; None where it does not say.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Remote(ABC):
    """A remote input. Instances are used by one thread at a time and may be closed from it."""

    @abstractmethod
    def facts(self) -> SourceFacts:
        """Ask for its facts.

        Raises:
            InputError: it is not there, or may not be read.
            PassingError: it may be there later.
        """

    @abstractmethod
    def read(self, start: int, facts: SourceFacts) -> Generator[bytes]:
        """Stream the content from a byte on; closing the iterator ends the transfer.

        Raises:
            InputError: it is gone, or is another version than `facts`.
            PassingError: the stream broke; going on from where it ended may succeed.
        """

    def confirm(self, facts: SourceFacts) -> None:
        """Make sure, once all is read, that all of it was of the version of `facts`; here, where each stream is of one.

        Raises:
            InputError: it is another version by now.
            PassingError: it cannot be asked now.
        """
        return

    def close(self) -> None:
        """Free connections."""
        return
