"""Settings: typed, all problems at once, the same keys in the help as in the schema."""

from __future__ import annotations

import json
import math
import pydoc
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from omegaconf import OmegaConf

from birefnet_batch.engines.required import device_of, resolve_device
from birefnet_batch.errors import ConfigError, ProblemsError
from birefnet_batch.settings import (
    Alpha,
    CorruptFrames,
    Device,
    EngineName,
    EngineSettings,
    ExecutorSettings,
    MediaSettings,
    OnInvalid,
    Provider,
    RequestSettings,
    Resume,
    Settings,
    StorageSettings,
    describe,
    schema_node,
)


def test_a_composed_configuration_becomes_frozen_dataclasses() -> None:
    config = OmegaConf.merge(schema_node(), {"output": "out", "request": {"operating_resolution": 1024}})
    assert OmegaConf.is_dict(config)
    settings = Settings.from_config(config)  # type: ignore[arg-type]
    assert settings.output == "out"
    assert settings.request.operating_resolution == "1024"
    with pytest.raises(AttributeError):
        settings.media.background = "white"  # type: ignore[misc]


def test_every_problem_of_the_settings_is_reported_at_once() -> None:
    settings = Settings(
        media=MediaSettings(background="blurple", encoder_threads=0, decode_timeout_s=-1),
        weights={"portait": "x"},
    )
    with pytest.raises(ProblemsError) as caught:
        settings.validate()
    assert len(caught.value.problems) == 4
    assert "weights.portait names no model; the models are light, light_2k" in str(caught.value)


def test_settings_that_python_makes_of_names_and_paths_are_those_of_the_program(tmp_path: Path) -> None:
    given: dict[str, Any] = {"resume": "never", "on_invalid": "skip", "output": tmp_path, "weights": {"demo": tmp_path}}
    engine: dict[str, Any] = {"name": "torch", "fallback": ["onnxruntime"], "memory_gib": 2}
    media: dict[str, Any] = {"alpha": "premultiplied", "corrupt_frames": "drop"}
    numbers: dict[str, Any] = {"operating_resolution": 1024}
    storage: dict[str, Any] = {"sequence_fps": 23.976}
    settings = Settings(
        **given,
        request=RequestSettings(**numbers),
        engine=EngineSettings(**engine),
        media=MediaSettings(**media),
        storage=StorageSettings(**storage),
    )
    assert (settings.resume, settings.on_invalid) == (Resume.never, OnInvalid.skip)
    assert (settings.output, settings.weights) == (str(tmp_path), {"demo": str(tmp_path)})
    assert (settings.request.operating_resolution, settings.storage.sequence_fps) == ("1024", "23.976")
    assert (settings.engine.name, settings.engine.fallback) == (EngineName.torch, [EngineName.onnxruntime])
    assert (settings.media.alpha, settings.media.corrupt_frames) == (Alpha.premultiplied, CorruptFrames.drop)
    settings.validate()
    json.dumps(settings.to_dict())


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Settings, {"resume": "newer"}, "Settings.resume is 'newer'; give auto, force, never"),
        (EngineSettings, {"batch_size": "2"}, "EngineSettings.batch_size is of the type str; give int, None"),
        (EngineSettings, {"threads": True}, "EngineSettings.threads is of the type bool; give int, None"),
        (EngineSettings, {"fallback": ["jax"]}, "EngineSettings.fallback is 'jax'; give auto, torch, onnxruntime"),
        (Settings, {"output": 5}, "Settings.output is of the type int; give str, None"),
        (Settings, {"weights": {"demo": 2.5}}, r"Settings.weights\['demo'\] is of the type float; give str, None"),
        (Settings, {"engine": "torch"}, "Settings.engine is of the type str; give EngineSettings"),
        (StorageSettings, {"options": {"s3": "topsecret"}}, r"options\['s3'\] is of the type str; give dict"),
    ],
)
def test_settings_that_python_makes_of_other_types_are_refused(
    kind: Callable[..., Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**given)


@pytest.mark.parametrize(
    ("engine", "problem"),
    [
        (
            EngineSettings(provider=Provider.openvino),
            "engine.provider=openvino is of onnxruntime alone, and engine.name=auto, which means torch, is asked for; "
            "give engine=onnxruntime, or leave engine.provider out",
        ),
        (EngineSettings(name=EngineName.torch, provider=Provider.cuda), "engine.provider=cuda is of onnxruntime alone"),
        (EngineSettings(name=EngineName.onnxruntime, compile=True), "engine.compile=true is of torch alone"),
        (EngineSettings(name=EngineName.torch, workspace_gib=4), "engine.workspace_gib=4 is of tensorrt alone"),
    ],
)
def test_what_the_engine_asked_for_does_not_take_is_no_setting_that_is_left_out_in_silence(engine, problem) -> None:
    with pytest.raises(ProblemsError) as caught:
        Settings(engine=engine).validate()
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)


def test_what_an_engine_takes_that_may_stand_in_is_a_setting() -> None:
    names = EngineName
    for engine in (
        EngineSettings(compile=True),
        EngineSettings(name=names.tensorrt, workspace_gib=4, compile=True, fallback=[names.torch]),
        EngineSettings(name=names.tensorrt, provider=Provider.cuda, fallback=[names.onnxruntime]),
    ):
        Settings(engine=engine).validate()


@pytest.mark.parametrize("provider", list(Provider))
def test_automatic_means_the_device_of_onnxruntimes_provider(provider) -> None:
    engine = EngineSettings(name=EngineName.onnxruntime, provider=provider)
    with patch("torch.cuda.is_available", lambda: True):
        opened = device_of("onnxruntime", provider.value, engine.device_wish)
        assert resolve_device(engine.device_wish) == opened
    # What stands in for a GPU takes what there is; on a CPU it has the precision that the results' key says.
    on_cpu = provider in (Provider.cpu, Provider.openvino)
    assert replace(engine, fallback=[EngineName.torch]).device_wish == ("cpu" if on_cpu else "auto")


@pytest.mark.parametrize(
    ("device", "fallback", "wish"),
    [
        (Device.auto, [], "cuda"),
        (Device.auto, [EngineName.torch], "auto"),
        (Device.cuda, [EngineName.torch], "cuda"),
        (Device.cpu, [EngineName.torch], "cpu"),
    ],
)
def test_automatic_means_a_gpu_for_tensorrt_and_what_there_is_for_what_stands_in(device, fallback, wish) -> None:
    assert EngineSettings(name=EngineName.tensorrt, device=device, fallback=fallback).device_wish == wish


def test_problems_name_urls_without_their_secrets() -> None:
    url = "https://me:hunter2@h/a.png?X-Amz-Signature=hunter2"
    settings = Settings(
        media=MediaSettings(background=url, hardware=url, deinterlace=url),
        storage=StorageSettings(sequence_fps=url, allow_schemes=[url]),
        models={"mine": url},
    )
    with pytest.raises(ProblemsError) as caught:
        settings.validate()
    assert len(caught.value.problems) == 6
    assert "media.background=https://h/a.png is a URL; download it" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (Settings(executor=ExecutorSettings(resources={"GPU": 1.0})), "give executor.gpus_per_worker"),
        (Settings(executor=ExecutorSettings(resources={"CPU": 1.0})), "give executor.cpus_per_worker"),
        (
            Settings(executor=ExecutorSettings(resources={"object_store_memory": 1e9})),
            "Ray uses it itself; leave it out",
        ),
        (Settings(executor=ExecutorSettings(resources={"bundle": 1.0})), "executor.resources.bundle cannot be"),
        (Settings(executor=ExecutorSettings(resources={"disk": -1.0})), "executor.resources.disk is -1.0; it must be"),
        (Settings(executor=ExecutorSettings(gpus_per_worker=0.00001)), "executor.gpus_per_worker is 1e-05; it must be"),
        (Settings(executor=ExecutorSettings(gpus_per_worker=math.inf)), "executor.gpus_per_worker is inf; it must be"),
        (Settings(executor=ExecutorSettings(cpus_per_worker=math.inf)), "executor.cpus_per_worker is inf; it must be"),
        (Settings(executor=ExecutorSettings(engine_memory_gib=math.inf)), "executor.engine_memory_gib is inf; it must"),
        (Settings(executor=ExecutorSettings(grace_s=math.nan)), "executor.grace_s is nan; it must be at most 1000000"),
        (Settings(storage=StorageSettings(timeout_s=math.inf)), "storage.timeout_s is inf; it must be above 0, and at"),
        (
            Settings(engine=EngineSettings(batch_size=10**9)),
            "engine.batch_size is 1000000000; it must be at most 65536",
        ),
        (Settings(engine=EngineSettings(threads=10**11)), "engine.threads is 100000000000; it must be at most 16384"),
        (Settings(media=MediaSettings(encoder_threads=10**9)), "media.encoder_threads is 1000000000; it must be at"),
        (Settings(media=MediaSettings(decode_memory_bytes=10**23)), "; it must be at most 1152921504606846976"),
        (
            Settings(engine=EngineSettings(memory_gib=1e300)),
            "engine.memory_gib is 1e+300; it must be from 0.001 to",
        ),
        (
            Settings(engine=EngineSettings(EngineName.tensorrt, workspace_gib=1e300)),
            "workspace_gib is 1e+300; it must be from 0.001 to 1048576",
        ),
        (
            Settings(engine=EngineSettings(batch_size=4, memory_gib=20.0)),
            "engine.batch_size=4 is given, and engine.memory_gib=20 is to find one; leave one of them out",
        ),
        (Settings(media=MediaSettings(decode_timeout_s=1e9)), "media.decode_timeout_s is 1000000000.0; it must be"),
    ],
)
def test_amounts_and_times_that_cannot_be_or_go_together_are_problems(settings: Settings, problem: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        settings.validate()
    (found,) = caught.value.problems
    assert problem in found


def test_empty_texts_of_variables_that_are_not_set_are_no_folder_to_work_in() -> None:
    empty = Settings(
        output="",
        manifest=" ",
        request_file="",
        weights_folder="",
        weights={"demo": ""},
        engine=EngineSettings(store="", shared_store=""),
        executor=ExecutorSettings(address="", scratch=""),
        storage=StorageSettings(scratch=""),
    )
    with pytest.raises(ProblemsError) as caught:
        empty.validate()
    assert len(caught.value.problems) == 10
    assert "output is empty, as a variable is that the shell does not have; give a value" in str(caught.value)


def test_a_text_that_no_path_has_is_a_problem_and_no_trace() -> None:
    with pytest.raises(ProblemsError) as caught:
        Settings(output="out\0", weights={"demo": "a\0.safetensors"}).validate()
    assert caught.value.problems == tuple(
        f"{name} holds a NUL character, which no path or address has; check what wrote it"
        for name in ("output", "weights.demo")
    )


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("s3://AKIAKEY:secret@bucket/parts", "executor.scratch: s3://bucket/parts was given with a user name or"),
        ("az://container/parts?sig=secret", "executor.scratch: az://container/parts was given with a signature (sig=)"),
        ("s3://", "executor.scratch is 's3://', which names no bucket; give s3://BUCKET/PATH"),
        ("gs://bucket/a/../b", "executor.scratch is 'gs://bucket/a/../b'; give gs://BUCKET/PATH without empty or"),
    ],
)
def test_a_bucket_for_parts_with_credentials_or_without_a_name_is_a_problem_before_anything_is_started(
    place: str, problem: str
) -> None:
    with pytest.raises(ProblemsError) as caught:
        Settings(executor=ExecutorSettings(scratch=place)).validate()
    (found,) = caught.value.problems
    assert found.startswith(problem)
    assert "secret" not in found


@pytest.mark.parametrize("group", ["storage", "executor"])
@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("gcs://bucket/parts", "scratch is 'gcs://bucket/parts'; give a folder"),
        ("https://me:secret@host/parts", "scratch is 'https://host/parts'; give a folder"),
        ("s3:/bucket/parts", "scratch: s3:... is neither a URL nor a path: a URL begins with"),
    ],
)
def test_a_url_of_no_scratch_space_is_not_taken_for_a_folder(group: str, place: str, problem: str) -> None:
    settings = Settings()
    with pytest.raises(ProblemsError) as caught:
        replace(settings, **{group: replace(getattr(settings, group), scratch=place)}).validate()
    (found,) = caught.value.problems
    assert found.startswith(f"{group}.{problem}")
    assert "secret" not in found


def test_scratch_space_of_a_machine_is_in_no_bucket() -> None:
    with pytest.raises(ProblemsError, match=r"storage.scratch is 's3://bucket/tmp'; give a folder on a disk"):
        Settings(storage=StorageSettings(scratch="s3://bucket/tmp")).validate()


def test_an_engine_store_is_in_no_bucket_and_the_message_names_the_shared_one() -> None:
    with pytest.raises(
        ProblemsError, match="engine.store is 's3://b/x'; give a folder on a disk; what machines"
    ) as caught:
        Settings(engine=EngineSettings(store="s3://me:SECRET@b/x")).validate()
    assert "share is engine.shared_store" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_scratch_space_may_be_a_folder_and_for_parts_a_bucket_too() -> None:
    for place in ("/mnt/a(b)", "~/parts", "file:///mnt/parts", "tmp [1]"):
        Settings(storage=StorageSettings(scratch=place), executor=ExecutorSettings(scratch=place)).validate()
    Settings(executor=ExecutorSettings(scratch="s3://bucket/parts/")).validate()


def test_amounts_that_ray_takes_are_right() -> None:
    resources = {"disk": 0.5, "memory": 2.0**30, "none": 0.0}
    Settings(executor=ExecutorSettings(resources=resources, cpus_per_worker=1.5)).validate()


@pytest.mark.parametrize(("share", "allowed"), [(0.5, True), (1, True), (2.0, True), (1.5, False)])
def test_a_worker_reserves_a_share_of_one_gpu_or_whole_ones(share: float, allowed: bool) -> None:
    settings = Settings(executor=ExecutorSettings(gpus_per_worker=share))
    if allowed:
        settings.validate()
        return
    with pytest.raises(ProblemsError, match=r"executor.gpus_per_worker is 1.5; above 1 it must be a whole number"):
        settings.validate()


def test_help_describes_every_key_of_the_schema() -> None:
    described = {
        re.sub(r"\.(MODEL|SCHEME\.OPTION|RESOURCE|FIELD|NAME\..*)$", "", key) for key, _, text in describe() if text
    }

    def keys(config: object, prefix: str = "") -> set[str]:
        found: set[str] = set()
        assert isinstance(config, dict)
        for name, value in config.items():
            nested = isinstance(value, dict) and name not in (
                "weights",
                "options",
                "models",
                "resources",
                "runtime_env",
            )
            found |= keys(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
        return found

    assert described == keys(OmegaConf.to_container(schema_node()))


def test_help_in_python_says_what_each_setting_is() -> None:
    for group in (Settings, EngineSettings, MediaSettings, StorageSettings):
        for item in fields(group):
            assert item.metadata["help"] in pydoc.render_doc(group, renderer=pydoc.plaintext), item.name


def test_settings_are_json_values_in_the_record() -> None:
    plain = replace(Settings(), output="x").to_dict()
    assert plain["engine"]["device"] == "auto"
    assert plain["on_invalid"] == "fail"
