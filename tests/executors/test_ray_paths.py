"""What workers get for paths that the user gave relative to the driver's working folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from birefnet_batch.executors.ray_paths import absolute_paths
from birefnet_batch.settings import EngineSettings, ExecutorSettings, MediaSettings, Settings, StorageSettings


def test_relative_paths_are_of_the_drivers_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("logo.png", "w.safetensors"):
        (tmp_path / name).touch()
    given = replace(
        Settings(),
        engine=EngineSettings(store="store", shared_store="s3://bucket/store"),
        executor=ExecutorSettings(scratch="parts"),
        storage=StorageSettings(scratch="~/tmp"),
        media=MediaSettings(background="logo.png"),
        models={"mine": {"network": "demo", "native_resolution": "256x256", "weights": "w.safetensors"}},
        weights={**Settings().weights, "demo": "w.safetensors", "portrait": "someone/repository"},
        weights_folder="fetched",
    )
    got = absolute_paths(given)
    assert (got.engine.store, got.engine.shared_store) == (str(tmp_path / "store"), "s3://bucket/store")
    assert (got.executor.scratch, got.storage.scratch) == (str(tmp_path / "parts"), "~/tmp")
    assert got.media.background == str(tmp_path / "logo.png")
    assert got.models["mine"]["weights"] == got.weights["demo"] == str(tmp_path / "w.safetensors")
    assert got.weights["portrait"] == "someone/repository"
    assert got.weights_folder == str(tmp_path / "fetched")
    assert absolute_paths(Settings()) == Settings()
