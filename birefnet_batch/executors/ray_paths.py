"""The paths in a run's settings as workers get them, whose working folders are others than the driver's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from birefnet_batch.settings import Settings
from birefnet_batch.settings_paths import with_absolute_paths
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path


def absolute_paths(settings: Settings) -> Settings:
    """The settings with absolute paths; a home folder stays each machine's own."""
    plain = with_absolute_paths(settings.to_dict(), Path.cwd())
    engine, storage, executor = settings.engine, settings.storage, settings.executor
    return replace(
        settings,
        engine=replace(engine, store=_made(engine.store), shared_store=_made(engine.shared_store)),
        storage=replace(storage, scratch=_made(storage.scratch)),
        executor=replace(executor, scratch=_made(executor.scratch)),
        media=replace(settings.media, background=plain["media"]["background"]),
        models=plain["models"],
        weights=plain["weights"],
        weights_folder=_made(settings.weights_folder),
    )


def _made(folder: str | None) -> str | None:
    """A folder that is made where there is none."""
    if folder is None or scheme_of(folder) or folder.startswith("~"):
        return folder
    return str(user_path(folder).absolute())
