"""The settings of a run, read back from its record."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import ConfigError
from birefnet_batch.recorded_settings import read_settings, repeating
from birefnet_batch.results import JobRecord, SourceRecord
from birefnet_batch.settings import (
    EngineName,
    EngineSettings,
    ExecutorName,
    ExecutorSettings,
    MediaSettings,
    Provider,
    Settings,
    StorageSettings,
)
from birefnet_batch.settings.checks import unused_settings
from birefnet_batch.storage.local_store import LocalStore


def recorded(store: LocalStore, settings: Settings, **record: Any) -> Settings:
    store.put("runs/one/run.json", json.dumps({"settings": settings.to_dict(), **record}).encode())
    return read_settings(store, "one")


def test_files_of_the_runs_working_folder_are_found_from_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    for name in ("w.safetensors", "back.png", "fetched/w", "store/x", "blue", "General Use (Light)"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).touch()
    settings = replace(
        Settings(),
        weights={**Settings().weights, "demo": "w.safetensors", "portrait": "someone/repository"},
        weights_folder="fetched",
        media=MediaSettings(background="back.png"),
        engine=replace(Settings().engine, store="store"),
        models={"mine": {"network": "demo", "native_resolution": "256x256", "weights": "w.safetensors"}},
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = recorded(LocalStore(tmp_path / "out"), settings, working_directory=str(there))
    assert found.weights["demo"] == found.models["mine"]["weights"] == str(there / "w.safetensors")
    assert found.weights["portrait"] == "someone/repository"
    assert found.weights["light"] is None
    assert found.weights_folder == str(there / "fetched")
    assert found.media.background == str(there / "back.png")
    assert found.engine.store == str(there / "store")


def test_a_colour_stays_one_whatever_files_are_called(tmp_path: Path) -> None:
    (tmp_path / "blue").touch()
    settings = replace(Settings(), media=MediaSettings(background="blue"))
    assert recorded(LocalStore(tmp_path / "out"), settings, working_directory=str(tmp_path)) == settings


@pytest.mark.parametrize(
    "text", ["a${b}.mp4", r"a\${b}", r"a\\${oc.env:HOME}", "${", "${media.background}", "$\\{x}\\"]
)
def test_texts_that_look_like_references_to_other_settings_are_read_back_as_they_are(tmp_path: Path, text: str) -> None:
    settings = replace(
        Settings(),
        output=text,
        weights={**Settings().weights, "demo": text},
        storage=StorageSettings(allow_schemes=["file"], options={"s3": {"endpoint_url": text}}),
    )
    assert recorded(LocalStore(tmp_path / "out"), settings) == settings


def test_records_of_earlier_versions_have_no_working_folder_and_damaged_ones_say_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    assert recorded(store, Settings()) == Settings()
    for damaged in (b"{", b"[]", b'{"settings": []}', b'{"settings": {"engine": 3}}'):
        store.put("runs/one/run.json", damaged)
        with pytest.raises(ConfigError, match="is gone or damaged"):
            read_settings(store, "one")


def test_a_repeat_has_the_rate_and_the_limits_of_its_run_and_reaches_inputs_as_it_is_told() -> None:
    run = replace(
        Settings(),
        storage=StorageSettings(sequence_fps="24", max_data_uri_bytes=2**30, max_input_bytes=2**40, max_retries=1),
    )
    record = JobRecord(job_id="a", status="succeeded", request={}, source=SourceRecord("file:///frames"))
    here = StorageSettings(options={"s3": {"endpoint_url": "http://here"}}, max_retries=9)
    storage = repeating(run, record, here).storage
    assert (storage.sequence_fps, storage.max_data_uri_bytes, storage.max_input_bytes) == ("24", 2**30, 2**40)
    assert (storage.options, storage.max_retries) == (here.options, 9)


@pytest.mark.parametrize(
    ("asked", "ran", "left"),
    [
        (
            EngineSettings(name=EngineName.tensorrt, fallback=[EngineName.torch], workspace_gib=2),
            {"family": "torch", "device": "cpu"},
            {"workspace_gib": None},
        ),
        (
            EngineSettings(
                name=EngineName.onnxruntime, fallback=[EngineName.torch], provider=Provider.openvino, compile=True
            ),
            {"family": "torch", "device": "cpu"},
            {"provider": Provider.auto, "compile": False},
        ),
        (EngineSettings(compile=True), {"family": "torch", "device": "cuda"}, {"compile": False}),
        (
            EngineSettings(name=EngineName.onnxruntime, provider=Provider.cuda),
            {"family": "onnxruntime", "device": "cuda"},
            {"provider": Provider.auto},
        ),
        (
            EngineSettings(name=EngineName.onnxruntime, provider=Provider.openvino),
            {"family": "onnxruntime", "device": "cpu"},
            {"provider": Provider.openvino},
        ),
    ],
)
def test_a_repeat_asks_for_nothing_that_the_engine_that_ran_or_this_machine_does_not_have(
    asked: EngineSettings, ran: dict[str, str], left: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    record = JobRecord("a", "succeeded", {}, SourceRecord("file:///a.mp4"), engine=ran)
    repeat = repeating(Settings(engine=asked), record, StorageSettings())
    repeat.validate()
    assert {name: getattr(repeat.engine, name) for name in left} == left


def test_a_repeat_has_no_settings_of_workers_that_it_does_not_have() -> None:
    executor = ExecutorSettings(name=ExecutorName.ray, workers=3, address="auto", cpus_per_worker=2.0, grace_s=1.0)
    executor = replace(executor, runtime_env={"pip": ["x"]}, scratch="/parts")
    record = JobRecord("a", "succeeded", {}, SourceRecord("file:///a.mp4"))
    assert unused_settings(repeating(Settings(executor=executor), record, StorageSettings())) == []


def test_a_repeat_takes_the_recorded_batch_and_measures_none() -> None:
    measured = Settings(engine=EngineSettings(memory_gib=20.0))
    record = JobRecord("a", "succeeded", {}, SourceRecord("file:///a.mp4"), engine={"family": "torch", "batch_size": 8})
    repeat = repeating(measured, record, StorageSettings())
    repeat.validate()
    assert (repeat.engine.batch_size, repeat.engine.memory_gib) == (8, None)
