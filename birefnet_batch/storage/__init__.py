"""Where inputs come from and where results go."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_batch.storage.facts import SourceFacts
    from birefnet_batch.storage.lookup import source_facts
    from birefnet_batch.storage.output import Output
    from birefnet_batch.storage.sources import LocalSource, open_source

__all__ = ["LocalSource", "Output", "SourceFacts", "open_source", "source_facts"]

_HOMES = {"Output": "output", "SourceFacts": "facts", "source_facts": "lookup"}


def __getattr__(name: str) -> Any:
    # Decoding processes import growing_file alone, and start in milliseconds.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'sources')}"), name)
