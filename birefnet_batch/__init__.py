"""Remove the background from videos with the BiRefNet models, one video or ten thousand.

from birefnet_batch import Request, process_video, run
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet_batch.batch import RunSummary, process_video, run
    from birefnet_batch.errors import (
        BirefnetBatchError,
        ConfigError,
        DecoderCrashError,
        ElsewhereError,
        EngineError,
        EngineMemoryError,
        FetchError,
        InputError,
        ManifestError,
        NoWorkerError,
        OutputError,
        OutputLostError,
        ProblemsError,
        RequestError,
        WeightsError,
        WorkerLostError,
    )
    from birefnet_batch.executors.base import JobOutcome
    from birefnet_batch.progress import Progress
    from birefnet_batch.request import Request
    from birefnet_batch.result import Result, VideoFile
    from birefnet_batch.settings import (
        Alpha,
        CorruptFrames,
        Device,
        EngineName,
        EngineSettings,
        ExecutorName,
        ExecutorSettings,
        MediaSettings,
        OnInvalid,
        Precision,
        Provider,
        RequestSettings,
        Resume,
        Settings,
        StorageSettings,
    )

__all__ = [
    "Alpha",
    "BirefnetBatchError",
    "ConfigError",
    "CorruptFrames",
    "DecoderCrashError",
    "Device",
    "ElsewhereError",
    "EngineError",
    "EngineMemoryError",
    "EngineName",
    "EngineSettings",
    "ExecutorName",
    "ExecutorSettings",
    "FetchError",
    "InputError",
    "JobOutcome",
    "ManifestError",
    "MediaSettings",
    "NoWorkerError",
    "OnInvalid",
    "OutputError",
    "OutputLostError",
    "Precision",
    "ProblemsError",
    "Progress",
    "Provider",
    "Request",
    "RequestError",
    "RequestSettings",
    "Result",
    "Resume",
    "RunSummary",
    "Settings",
    "StorageSettings",
    "VideoFile",
    "WeightsError",
    "WorkerLostError",
    "process_video",
    "run",
]

_HOMES = {
    "batch": ("RunSummary", "process_video", "run"),
    "executors.base": ("JobOutcome",),
    "progress": ("Progress",),
    "request": ("Request",),
    "result": ("Result", "VideoFile"),
    "settings": (
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
    ),
}


# To a type checker, which knows all names from above, any other would be right too.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Decoding processes and --help import this package: what is public is loaded when it is asked for.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((module for module, names in _HOMES.items() if name in names), "errors")
        return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
