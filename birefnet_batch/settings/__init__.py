"""The structured configuration of a run: typed, frozen, validated before anything starts.

Hydra composes `conf/` over these classes; `Settings.from_config` turns the result into plain frozen dataclasses.
Nothing below the application sees a DictConfig. The `help` of each field is its line in `--help`.
"""

from __future__ import annotations

from birefnet_batch.settings.engine import Device, EngineName, EngineSettings, Precision, Provider
from birefnet_batch.settings.executor import ExecutorName, ExecutorSettings
from birefnet_batch.settings.media import Alpha, CorruptFrames, MediaSettings
from birefnet_batch.settings.request import RequestSettings
from birefnet_batch.settings.run import OnInvalid, Resume, Settings
from birefnet_batch.settings.schema import describe, schema_node
from birefnet_batch.settings.storage import StorageSettings

__all__ = [
    "Alpha",
    "CorruptFrames",
    "Device",
    "EngineName",
    "EngineSettings",
    "ExecutorName",
    "ExecutorSettings",
    "MediaSettings",
    "OnInvalid",
    "Precision",
    "Provider",
    "RequestSettings",
    "Resume",
    "Settings",
    "StorageSettings",
    "describe",
    "schema_node",
]
