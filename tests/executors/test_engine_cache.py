"""Engines stay open between jobs, the least recently used one goes, and what cannot be had is asked for once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trivial import TrivialEngine

from birefnet_batch import engines
from birefnet_batch.engines import batch_probe, shared_store
from birefnet_batch.engines.required import resolve_device
from birefnet_batch.errors import EngineError, WeightsError
from birefnet_batch.executors import engine_cache
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights
from birefnet_batch.settings import Device, EngineName, EngineSettings, ExecutorSettings, Settings, StorageSettings
from birefnet_batch.settings.engine import Provider

DEMO = find_model("demo")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[TrivialEngine]:
    made: list[TrivialEngine] = []

    def open_engine(name: str, *, width: int, height: int, batch_size: int | None, **_: Any) -> TrivialEngine:
        if width > 1000:
            raise EngineError("too large")
        made.append(TrivialEngine(width, height, batch_size or 1))
        return made[-1]

    monkeypatch.setattr(engines, "open_engine", open_engine)
    return made


def is_open(engine: TrivialEngine) -> bool:
    return engine._opened


def test_an_engine_is_opened_once_for_the_jobs_that_share_it(opened: list[TrivialEngine]) -> None:
    with EngineCache(Settings()) as cache:
        assert cache.engine(DEMO, (64, 64)) is cache.engine(DEMO, (64, 64))
        assert len(opened) == 1
        assert is_open(opened[0])
    assert not is_open(opened[0])


def test_the_least_recently_used_engine_is_closed_first_when_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, opened: list[TrivialEngine]
) -> None:
    # Every engine takes a tenth more than 1 GiB.
    monkeypatch.setattr(engine_cache, "memory_in_use", lambda *_: len(opened) * 1.1 * (1 << 30))
    settings = replace(Settings(), executor=ExecutorSettings(engine_memory_gib=2.5))
    with EngineCache(settings) as cache:
        for size in (64, 96, 64, 128):
            cache.engine(DEMO, (size, size))
        assert [is_open(engine) for engine in opened] == [True, False, True]


def test_engines_opened_into_memory_that_was_freed_before_count_with_their_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a process that has already inferred sees it.
    monkeypatch.setattr(engine_cache, "memory_in_use", lambda *_: 1 << 30)
    one = locate_weights(DEMO).path.stat().st_size
    settings = Settings(
        engine=EngineSettings(name=EngineName.torch, device=Device.cpu, threads=1),
        executor=ExecutorSettings(engine_memory_gib=1.5 * one / (1 << 30)),
    )
    with EngineCache(settings) as cache:
        for size in (64, 96):
            cache.engine(DEMO, (size, 64))
        assert cache.held == [("demo", 96, 64)]


def test_the_quickest_batch_that_fits_is_measured_once_and_recorded(
    monkeypatch: pytest.MonkeyPatch, opened: list[TrivialEngine], tmp_path: Path
) -> None:
    tried: list[int] = []

    def measure(arguments: Any, batch: int) -> batch_probe.Measured:
        tried.append(batch)
        return batch_probe.Measured(batch, batch << 30, 1 / batch)

    monkeypatch.setattr(batch_probe, "measure_in_child", measure)
    settings = asking(memory_gib=3.0, store=str(tmp_path))
    for _ in range(2):
        with EngineCache(settings) as cache:
            record = cache.engine(DEMO, (64, 64)).record()
            assert record["batch_size_why"] == "measured: the quickest of those that fit into 3 GiB"
    assert tried[:2] == [1, 2]
    assert len(tried) == len(set(tried)), "measured once"
    assert opened[-1].spec.batch_size == 2


def test_what_cannot_be_had_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, opened: list[TrivialEngine]) -> None:
    asked: list[str] = []

    def missing(spec: Any, setting: str | None, folder: str | None) -> Any:
        asked.append(spec.short_name)
        raise WeightsError("they are not here")

    with EngineCache(Settings()) as cache:
        for _ in range(3):
            with pytest.raises(EngineError, match="too large"):
                cache.engine(DEMO, (2048, 2048))
        monkeypatch.setattr(engine_cache, "locate_weights", missing)
        for _ in range(3):
            with pytest.raises(WeightsError, match="not here"):
                cache.engine(find_model("portrait"), (64, 64))
    assert asked == ["portrait"]


def test_what_is_remembered_of_missing_weights_does_not_grow_with_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise WeightsError("they are not here")

    monkeypatch.setattr(engine_cache, "locate_weights", missing)
    depths: list[int] = []
    with EngineCache(Settings()) as cache:
        for _ in range(4):
            with pytest.raises(WeightsError, match="not here") as caught:
                cache.weights(DEMO)
            depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def asking(**changes: Any) -> Settings:
    return Settings(engine=EngineSettings(**changes))


def test_a_shared_store_is_opened_once_with_the_options_of_storage(
    monkeypatch: pytest.MonkeyPatch, opened: list[TrivialEngine]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(shared_store, "bucket_filesystem", lambda scheme, storage: asked.append((scheme, storage)))
    storage = StorageSettings(options={"s3": {"endpoint_url": "http://minio:9000"}})
    with EngineCache(replace(asking(shared_store="s3://bucket/engines"), storage=storage)) as cache:
        cache.engine(DEMO, (64, 64))
        cache.engine(DEMO, (96, 64))
    assert asked == [("s3", storage)]


def test_a_store_may_be_named_by_a_uri(tmp_path: Path) -> None:
    with EngineCache(asking(store=tmp_path.as_uri())) as cache:
        assert cache._store().root == tmp_path


def test_a_fallback_runs_only_where_it_is_named_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(name: str, *, width: int, height: int, **_: Any) -> TrivialEngine:
        if name == "onnxruntime":
            raise EngineError("onnxruntime is not installed")
        return TrivialEngine(width, height)

    monkeypatch.setattr(engines, "open_engine", open_engine)
    named = asking(name=EngineName.onnxruntime, fallback=[EngineName.torch])
    with EngineCache(named) as cache:
        record = cache.engine(DEMO, (64, 64)).record()
    assert record["asked"] == "onnxruntime"
    assert record["instead_of"] == ["onnxruntime: onnxruntime is not installed"]
    with EngineCache(asking(name=EngineName.onnxruntime)) as cache, pytest.raises(EngineError, match="not installed"):
        cache.engine(DEMO, (64, 64))


def test_where_nothing_that_is_named_can_be_had_each_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(name: str, **_: Any) -> TrivialEngine:
        raise EngineError(f"there is no {name}")

    monkeypatch.setattr(engines, "open_engine", open_engine)
    with (
        EngineCache(asking(name=EngineName.onnxruntime, fallback=[EngineName.torch])) as cache,
        pytest.raises(EngineError, match=r"^there is no torch \(before that, onnxruntime: there is no onnxruntime\)$"),
    ):
        cache.engine(DEMO, (64, 64))


def test_a_fallback_runs_where_the_engine_that_was_asked_for_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unopenable(TrivialEngine):
        def open(self) -> None:
            raise EngineError("the plan cannot be built: node conv_7")

    made = {"tensorrt": Unopenable, "torch": TrivialEngine}
    monkeypatch.setattr(engines, "open_engine", lambda name, *, width, height, **_: made[name](width, height))
    with EngineCache(asking(name=EngineName.tensorrt, fallback=[EngineName.torch])) as cache:
        engine = cache.engine(DEMO, (64, 64))
    assert type(engine) is TrivialEngine
    assert engine.record()["instead_of"] == ["tensorrt: the plan cannot be built: node conv_7"]


def test_a_fallback_has_the_whole_batch_when_the_one_asked_for_opens_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unopenable(TrivialEngine):
        def open(self) -> None:
            raise RuntimeError("bad allocation")

    made = {"onnxruntime": Unopenable, "torch": TrivialEngine}
    monkeypatch.setattr(
        engines, "open_engine", lambda name, *, width, height, batch_size, **_: made[name](width, height, batch_size)
    )
    settings = asking(name=EngineName.onnxruntime, fallback=[EngineName.torch], batch_size=8)
    with EngineCache(settings) as cache:
        assert cache.engine(DEMO, (64, 64)).spec.batch_size == 8
        # Opened anew from the first one on, and no larger again.
        for batch in (4, 2, 1):
            engine = cache.halve(DEMO, (64, 64))
            assert type(engine) is TrivialEngine
            assert engine.spec.batch_size == batch
            assert engine.refused_batches == ()
        assert cache.halve(DEMO, (64, 64)) is None


def test_what_stands_in_for_tensorrt_runs_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def open_engine(name: str, *, width: int, height: int, device: str, **_: Any) -> TrivialEngine:
        resolve_device("cuda" if name == "tensorrt" else device)
        return TrivialEngine(width, height)

    monkeypatch.setattr(engines, "open_engine", open_engine)
    with EngineCache(asking(name=EngineName.tensorrt, fallback=[EngineName.torch])) as cache:
        assert "finds no GPU" in cache.engine(DEMO, (64, 64)).record()["instead_of"][0]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"name": EngineName.tensorrt}, "engine.name=tensorrt was asked"),
        ({"name": EngineName.tensorrt, "fallback": [EngineName.tensorrt]}, "engine.name=tensorrt was asked"),
        (
            {"name": EngineName.tensorrt, "fallback": [EngineName.torch], "device": Device.cuda},
            "engine.device=cuda was",
        ),
        ({"name": EngineName.torch, "fallback": [EngineName.onnxruntime], "device": Device.cuda}, "engine.device=cuda"),
    ],
)
def test_a_gpu_that_was_asked_for_is_had_or_refused_whatever_may_stand_in(
    asked: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with EngineCache(asking(**asked)) as cache, pytest.raises(EngineError, match=told):
        cache.engine(DEMO, (64, 64))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"device": Device.cuda}, r"^engine.name=tensorrt was asked for, but torch .* give engine=torch, or install"),
        ({"device": Device.auto}, r"^engine.name=tensorrt was asked for, but torch .* give engine=torch, or install"),
        ({"device": Device.cpu}, r"^engine.name=tensorrt runs on cuda, .* give engine.device=auto, or engine=torch$"),
        (
            {"name": EngineName.onnxruntime, "provider": Provider.cuda},
            r"^engine.provider=cuda was asked for, .* give engine.provider=cpu, or install",
        ),
        (
            {"name": EngineName.onnxruntime, "provider": Provider.cuda, "device": Device.cuda},
            r"^engine.provider=cuda was asked for, .* give engine.provider=cpu engine.device=auto, or install",
        ),
    ],
)
def test_advice_where_there_is_no_gpu_leads_to_an_engine_that_runs_and_not_back(
    asked: dict[str, Any], told: str, opened: list[TrivialEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    wanted = asking(**{"name": EngineName.tensorrt, **asked})
    with EngineCache(wanted) as cache, pytest.raises(EngineError, match=told):
        cache.engine(DEMO, (64, 64))
    assert not opened


def test_an_automatic_choice_says_why(opened: list[TrivialEngine]) -> None:
    with EngineCache(asking(device=Device.cpu)) as cache:
        assert cache.engine(DEMO, (64, 64)).record()["why"].startswith("auto: ")
