"""Where inputs come from and where results go."""

from __future__ import annotations

from birefnet_batch.storage.output import Output
from birefnet_batch.storage.sources import LocalSource, SourceFacts, open_source, source_facts

__all__ = ["LocalSource", "Output", "SourceFacts", "open_source", "source_facts"]
