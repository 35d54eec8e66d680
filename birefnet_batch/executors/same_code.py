"""Which version of this package a machine runs: another one gives other results, under other keys."""

from __future__ import annotations

from dataclasses import dataclass

from birefnet_batch.jobs import PIPELINE_VERSION
from birefnet_batch.versions import CHECKOUT, package_version


@dataclass(frozen=True)
class Code:
    """What decides whether two machines do the same."""

    package: str
    """The package's version; `CHECKOUT` where that is not known."""
    pipeline: int
    """Of the keys of results."""

    @classmethod
    def here(cls) -> Code:
        """Of this process."""
        return cls(package_version(), PIPELINE_VERSION)

    def differs(self, other: Code) -> bool:
        """Whether it is known to be another."""
        known = CHECKOUT not in (self.package, other.package)
        return self.pipeline != other.pipeline or (known and self.package != other.package)

    def __str__(self) -> str:
        return f"birefnet-batch {self.package} (pipeline {self.pipeline})"
