"""Which jobs are complete already, and what is said of those that cannot be told for sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet_batch import resume
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.jobs import Job, job_key, marker
from birefnet_batch.request import Request
from birefnet_batch.settings import Device, EngineName, EngineSettings, Precision, Settings
from birefnet_batch.storage import Output, SourceFacts, source_facts


@pytest.mark.parametrize(
    ("fingerprint", "warned"),
    [
        ("size=8351;unversioned", True),
        ('size=8351;etag="one"', False),
        ("size=8351;last-modified=Sat, 28 Nov 2026 05:00:00 GMT", False),
        ("size=8351;mtime_ns=5", False),
    ],
)
def test_a_source_whose_change_would_not_be_seen_is_skipped_with_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fingerprint: str,
    warned: bool,
) -> None:
    job = Job.from_request(Request("https://h/a.mp4?token=very-secret", model="Demo"))
    monkeypatch.setattr(
        resume, "many_source_facts", lambda uris, *_: {uri: SourceFacts(8351, fingerprint) for uri in uris}
    )
    monkeypatch.setattr(Job, "is_complete", lambda *_: True)
    with Output(str(tmp_path), "run") as output:
        output.write(job.file(marker("key")), b"")
        assert resume.split_complete(output, Settings(), [job]) == ([], [job])
    assert ("https://h/a.mp4); that they are unchanged is known by their length alone" in caplog.text) == warned
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize("precision", [Precision.auto, Precision.fp16])
def test_a_head_without_a_gpu_recognises_what_its_clusters_gpus_have_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    recognises(tmp_path, monkeypatch, EngineSettings(device=Device.cuda, precision=precision), "fp16")


def test_without_a_gpu_the_work_of_what_stands_in_for_tensorrt_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = EngineSettings(name=EngineName.tensorrt, fallback=[EngineName.torch])
    recognises(tmp_path, monkeypatch, asked, "fp32")


def recognises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineSettings, made: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "a.mp4").write_bytes(b"a video")
    settings = Settings(engine=engine)
    job = Job.from_request(Request(str(tmp_path / "a.mp4"), model="Demo"))
    with EngineCache(settings) as engines:
        weights = engines.weights(engines.model(job.request.model)).sha256
    fingerprint = source_facts(job.uri, settings.storage).fingerprint
    key = job_key(job, fingerprint, weights, made, settings.media)
    with Output(str(tmp_path / "out"), "run") as output:
        for name in (marker(key), "result.json", "job.json", job.media_name(mask=False)):
            output.write(job.file(name), b"")
        assert resume.split_complete(output, settings, [job]) == ([], [job])
