"""Run a network behind one narrow interface."""

from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.engines.required import choose, resolve_precision
from birefnet_batch.engines.selection import open_engine

__all__ = ["Engine", "EngineSpec", "choose", "open_engine", "resolve_precision"]
