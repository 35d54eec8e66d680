"""Run a network behind one narrow interface."""

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.selection import choose, open_engine, resolve_precision

__all__ = ["Engine", "EngineSpec", "choose", "open_engine", "resolve_precision"]
