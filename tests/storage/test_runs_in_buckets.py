"""Whole runs from a bucket into a bucket, against real servers."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import av
from clips import make_clip
from servers import Cloud

from birefnet_batch import RunSummary, Settings, run
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.manifest import load_manifest
from birefnet_batch.progress import PlainProgress
from birefnet_batch.status import read_status
from birefnet_batch.storage.stores import open_store


def test_a_bucket_of_videos_becomes_a_bucket_of_results_once(cloud: Cloud, tmp_path: Path) -> None:
    storage = cloud.settings(scratch=str(tmp_path / "scratch"))
    location = f"{cloud.root}/whole runs/out"
    clip = make_clip(tmp_path / "clip.mp4", frames=2, size=(64, 48))
    open_store(f"{cloud.root}/whole runs/in", storage).put("clip.mp4", clip.read_bytes())

    def run_all() -> tuple[RunSummary, list[JobOutcome]]:
        fields = {"model": "demo", "operating_resolution": 256, "video_write_mode": "fast"}
        manifest = load_manifest(f"{cloud.root}/whole runs/in", fields, exclude=location, storage=storage)
        outcomes: list[JobOutcome] = []
        with open(os.devnull, "w") as silent:  # noqa: PTH123
            progress = PlainProgress(len(manifest.requests), silent)
            settings = replace(Settings(), output=location, storage=storage)
            return run(settings, manifest.requests, progress=progress, on_outcome=outcomes.append), outcomes

    first, outcomes = run_all()
    assert (first.succeeded, first.failed) == (1, 0)
    store = open_store(location, storage)
    (outcome,) = outcomes
    assert outcome.result is not None
    url = outcome.result["video"]["url"]
    assert url.startswith(f"{location}/jobs/clip-")
    content = store.get(url.removeprefix(f"{location}/"))
    assert content is not None
    with av.open(io.BytesIO(content)) as container:
        assert len(list(container.decode(video=0))) == 2
    before = sorted(store.walk("jobs"))
    again, _ = run_all()
    assert (again.succeeded, again.skipped) == (0, 1)
    assert sorted(store.walk("jobs")) == before
    assert store.names(".lease") == []
    assert [read_status(store, each.run_id).counts["succeeded"] for each in (first, again)] == [1, 0]
    assert not (tmp_path / "scratch").exists()
