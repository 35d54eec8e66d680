"""The exception tree. Every message says what was given, what is allowed and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class BirefnetBatchError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(BirefnetBatchError):
    """The settings of a run are wrong; nothing was started."""


class ProblemsError(ConfigError):
    """Several problems of one thing, reported at once.

    Args:
        subject: what has the problems, for the first line of the message.
        problems: one sentence each.
    """

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{subject}:{listed}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.subject, self.problems)


class RequestError(ProblemsError):
    """A request has fields or values that the API does not have."""


class ManifestError(ProblemsError):
    """A manifest cannot be read, or some of its entries are no requests."""


class InputError(BirefnetBatchError):
    """An input video cannot be used: missing, unreachable, no video, without frames or truncated."""


class FetchError(InputError):
    """An input cannot be reached from this machine, or may not be read with its credentials; from another it may."""


class ElsewhereError(BirefnetBatchError):
    """A video was begun on a machine that has another checkpoint, file or encoder than this one: it goes on there."""


class DecoderCrashError(InputError):
    """The decoding process died or stopped answering while it read an input."""


class WorkerLostError(BirefnetBatchError):
    """A worker died, was killed or ran out of memory while it worked on a video."""


class NoWorkerError(BirefnetBatchError):
    """No machine, or no GPU of this one, can do what is left of a run; those videos were not tried."""


class OutputError(BirefnetBatchError):
    """A result cannot be written where it was asked for."""


class OutputLostError(OutputError):
    """The output could not be written any more while a run was going on; the same command goes on with the rest."""


class WeightsError(BirefnetBatchError):
    """A checkpoint is missing, unreadable or does not fit the network."""


class EngineError(BirefnetBatchError):
    """An engine that was asked for cannot be had on this machine."""


class EngineMemoryError(EngineError):
    """An engine ran out of memory, its own or its device's."""
