"""What no video could do without is looked for once, before the first; what some need costs these alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_runs import request, run_all, settings

from birefnet_batch import Request, run
from birefnet_batch.errors import BirefnetBatchError, ConfigError, EngineError, ProblemsError, WeightsError
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.preflight import open_first
from birefnet_batch.jobs import Job
from birefnet_batch.settings import Device, EngineName, EngineSettings, MediaSettings, Precision, StorageSettings
from birefnet_batch.status import read_status
from birefnet_batch.storage.stores import open_store


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"weights": {"demo": "none.pth"}}, WeightsError, "none.pth does not exist"),
        ({"media": MediaSettings(hardware="require")}, ConfigError, "media.hardware is require, and h264_nvenc was"),
        ({"engine": EngineSettings(device=Device.cpu, compile=True)}, EngineError, "compile=true is for torch on CUDA"),
        (
            {"engine": EngineSettings(name=EngineName.onnxruntime, device=Device.cpu, precision=Precision.bf16)},
            EngineError,
            "CPU provider has no bf16",
        ),
        (
            {"engine": EngineSettings(name=EngineName.tensorrt, device=Device.cuda, fallback=[EngineName.torch])},
            EngineError,
            "engine.device=cuda was asked for",
        ),
    ],
)
def test_what_no_video_can_do_without_ends_the_run_before_the_first_and_is_on_record(
    clip: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[BirefnetBatchError],
    told: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("birefnet_batch.video.hardware.why_not", lambda encoder: "there is no card")
    with pytest.raises(error, match=told):
        run_all(output, request(clip), request(clip, video_quality="low"), **changes)
    assert not (output / "jobs").exists()
    status = read_status(open_store(str(output), StorageSettings()))
    assert (status.state, status.counts["failed"], status.counts["remaining"]) == ("failed", 0, 2)
    assert status.error is not None
    assert told in status.error


def test_weights_that_are_no_use_are_told_once_and_cost_no_complete_result(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    text = clip.with_name("text.safetensors")
    text.write_text("hello")
    several = [request(clip), request(clip, video_quality="low")]
    with pytest.raises(WeightsError, match="it is text and no weights"):
        run_all(output, *several, weights={"demo": str(text)})
    assert not list(output.glob("jobs/*/failed.json"))
    assert read_status(open_store(str(output), StorageSettings())).counts["failed"] == 0


def test_a_store_that_cannot_be_one_is_told_once(clip: Path, output: Path) -> None:
    pytest.importorskip("onnxruntime")
    engine = EngineSettings(name=EngineName.onnxruntime, device=Device.cpu, store=str(clip))
    with pytest.raises(EngineError, match=r"The engine store .*clip.mp4 cannot be used"):
        run_all(output, request(clip), request(clip, video_quality="low"), engine=engine)


def test_a_video_that_is_not_there_is_told_without_weights(clip: Path, output: Path) -> None:
    gone = request(clip.with_name("gone.mp4"))
    summary, _ = run_all(output, gone, weights={"demo": "none.pth"})
    assert "gone.mp4 does not exist" in summary.failures[0][1]
    with pytest.raises(WeightsError, match="none.pth does not exist"):
        run_all(output, gone, request(clip), weights={"demo": "none.pth"})


@pytest.mark.usefixtures("trivial_engine")
def test_weights_that_one_model_of_two_lacks_cost_its_videos_alone(clip: Path, output: Path) -> None:
    summary, _ = run_all(
        output, request(clip, model="light", operating_resolution=1024), request(clip), weights={"light": "none.pth"}
    )
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert "weights.light=none.pth does not exist" in summary.failures[0][1]


def test_where_no_model_has_weights_each_is_told_once(clip: Path, output: Path) -> None:
    several = [request(clip, model=name, operating_resolution=1024) for name in ("light", "portrait")] + [
        request(clip, model="light", operating_resolution=1024)
    ]
    jobs = [Job.from_request(one) for one in several]
    with pytest.raises(ProblemsError) as caught:
        wanted = settings(output, weights={"light": "one.pth", "portrait": "two.pth"})
        with EngineCache(wanted) as engines:
            open_first(wanted, jobs, engines)
    assert [problem.split()[0] for problem in caught.value.problems] == [
        *("weights.light=one.pth", "weights.portrait=two.pth")
    ]


@pytest.mark.usefixtures("trivial_engine")
def test_a_run_that_is_complete_needs_no_engine(clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_all(output, request(clip), engine=EngineSettings(precision=Precision.fp32))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gone = EngineSettings(name=EngineName.tensorrt, precision=Precision.fp32)
    summary, _ = run_all(output, request(clip), engine=gone)
    assert (summary.skipped, summary.failed) == (1, 0)


def test_a_call_from_python_raises_what_is_missing(clip: Path, output: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.pth does not exist"):
        run(settings(output, weights={"demo": "none.pth"}), [Request(video_url=str(clip), model="Demo")])


@pytest.mark.slow
def test_ray_on_this_machine_looks_first_too(clip: Path, output: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")
    text = clip.with_name("text.safetensors")
    text.write_text("hello")
    words = [
        "executor=ray",
        "engine.threads=1",
        f"request.video_url={clip}",
        "request.model=demo",
        f"weights.demo={text}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "birefnet_batch", *words, f"output={output}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "it is text and no weights" in done.stderr
    assert "failed:" not in done.stderr
    (record,) = output.glob("runs/*/run.json")
    assert "it is text and no weights" in json.loads(record.read_text())["error"]
    assert not (output / "jobs").exists()
