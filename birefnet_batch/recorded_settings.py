"""The settings of a run, from its run.json, and those that repeat one of its videos."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.output_files import RUN, run_file
from birefnet_batch.results import JobRecord
from birefnet_batch.settings import (
    Device,
    EngineName,
    ExecutorName,
    ExecutorSettings,
    Precision,
    Provider,
    Resume,
    Settings,
    StorageSettings,
)
from birefnet_batch.settings.engine import PROVIDER_DEVICES
from birefnet_batch.settings_paths import with_absolute_paths
from birefnet_batch.storage.stores import Store


def read_settings(store: Store, run_id: str) -> Settings:
    """The settings that a run was made with; hidden options of storage stay hidden.

    Files that it named relative to its working folder are those of that folder, from wherever this is called.

    Raises:
        ConfigError: its run.json is gone, damaged, or of a version whose settings are others.
    """
    try:
        record = json.loads(store.get(run_file(run_id, RUN)) or b"")
        plain = with_absolute_paths(record["settings"], Path(record.get("working_directory") or ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{store.uri(run_file(run_id, RUN))} is gone or damaged; it has the settings") from None
    return _settings_from_dict(plain)


def _settings_from_dict(plain: dict[str, Any]) -> Settings:
    """What `Settings.to_dict` gave.

    Raises:
        ConfigError: there are keys or values that this version does not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from birefnet_batch.settings import schema_node

    try:
        return Settings.from_config(OmegaConf.merge(schema_node(), _as_they_are(plain)))  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise ConfigError(f"the recorded settings are of another version: {str(error).splitlines()[0]}") from None


def _as_they_are(value: Any) -> Any:
    """Plain values whose texts OmegaConf takes literally: they are resolved, and a `${` in one is of a file's name."""
    if isinstance(value, dict):
        return {key: _as_they_are(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_they_are(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value


def repeating(settings: Settings, record: JobRecord, storage: StorageSettings) -> Settings:
    """The settings that do a recorded video again, as the record says it was done.

    Args:
        settings: those of its run.
        record: engine, precision, batch and thread counts; what a run left to the machine is in it.
        storage: how inputs are reached from here; what of it decides results is the run's.
    """
    engine = record.engine or {}
    asked = settings.engine
    family = engine.get("family")
    name = EngineName(family) if family in EngineName.__members__ else asked.name
    device = _device(str(engine.get("device", asked.device.value)))
    batch_size = _whole(engine.get("batch_size"), asked.batch_size)
    runs_there = PROVIDER_DEVICES[asked.provider] in (Device.auto, device)
    return replace(
        settings,
        manifest=None,
        request_file=None,
        resume=Resume.force,
        storage=replace(
            storage,
            sequence_fps=settings.storage.sequence_fps,
            max_data_uri_bytes=max(storage.max_data_uri_bytes, settings.storage.max_data_uri_bytes),
            max_input_bytes=max(storage.max_input_bytes, settings.storage.max_input_bytes),
        ),
        executor=ExecutorSettings(
            name=ExecutorName.local,
            max_retries=settings.executor.max_retries,
            gpus_per_worker=settings.executor.gpus_per_worker,
            engine_memory_gib=settings.executor.engine_memory_gib,
        ),
        engine=replace(
            asked,
            name=name,
            device=device,
            # Those of another family than ran, or of a GPU that is not here, would be refused.
            provider=asked.provider if name is EngineName.onnxruntime and runs_there else Provider.auto,
            compile=asked.compile and name is EngineName.torch and device is Device.cuda,
            workspace_gib=asked.workspace_gib if name is EngineName.tensorrt else None,
            precision=_precision(engine.get("precision"), asked.precision),
            batch_size=batch_size,
            memory_gib=asked.memory_gib if batch_size is None else None,
            threads=_whole(engine.get("threads"), asked.threads),
        ),
    )


def _device(name: str) -> Device:
    """The recorded device where there is one here, else what there is."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        return Device.auto
    return Device(name) if name in Device.__members__ else Device.auto


def _precision(name: Any, asked: Precision) -> Precision:
    return Precision(name) if name in Precision.__members__ else asked


def _whole(value: Any, asked: int | None) -> int | None:
    return value if isinstance(value, int) and value > 0 else asked
