"""The jobs of a sweep side by side."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from clips import make_clip

from birefnet_batch import comparison
from birefnet_batch.comparison import as_csv, compare_runs, show
from birefnet_batch.result import Result, VideoFile
from birefnet_batch.results import JobRecord, SourceRecord, pretty_json
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.local_store import LocalStore


def add(store: LocalStore, run_id: str, job_id: str, model: str, mask: Path, matte_s: float) -> None:
    """A video that a run made."""
    store.put(f"jobs/{job_id}/mask.mp4", mask.read_bytes())
    record = JobRecord(
        job_id=job_id,
        status="succeeded",
        request={"model": model, "operating_resolution": "512x512", "video_output_type": "X264 (.mp4)"},
        source=SourceRecord("file:///clip.mp4", frames=4),
        engine={"family": "torch", "precision": "fp32"},
        timings={"total": 2.0, "matte": matte_s},
        outputs={
            "video": f"jobs/{job_id}/video.mp4",
            "mask_video": f"jobs/{job_id}/mask.mp4",
            "result": f"jobs/{job_id}/result.json",
        },
        outputs_sha256={"mask_video": hashlib.sha256(mask.read_bytes()).hexdigest()},
    )
    store.put(f"jobs/{job_id}/job.json", record.to_json())
    facts = VideoFile("video/mp4", 1.0, "video.mp4", 4.0, 48, 4, "file:///video.mp4", 64, file_size=60_000_000_000)
    store.put(f"jobs/{job_id}/result.json", pretty_json(Result(facts).to_dict()))
    line = {"job_id": job_id, "input": "file:///clip.mp4", "status": "succeeded"}
    store.put(f"runs/{run_id}/manifest.jsonl", json.dumps(line).encode() + b"\n")


def test_a_figure_for_which_there_is_no_space_is_left_out_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store = LocalStore(tmp_path / "out")
    for number, name in enumerate(("one", "two"), 1):
        mask = tmp_path / name
        mask.write_bytes(name.encode())
        add(store, f"r{number}", name, "Demo", mask, 1.0)
    monkeypatch.setattr(comparison, "bring_media", full)
    rows = compare_runs([(str(store.root), name, f"quality={name}") for name in ("r1", "r2")], StorageSettings())
    assert [(row.matte_ms, row.matte_difference) for row in rows] == [(250.0, 0.0), (250.0, None)]


def test_each_job_has_its_speed_size_and_difference_to_the_first_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LocalStore(tmp_path / "out")
    one = make_clip(tmp_path / "one.mp4", frames=4, size=(64, 48))
    two = make_clip(tmp_path / "two.mp4", frames=4, size=(64, 48), rate=5)
    add(store, "r1", "a", "Demo", one, 1.0)
    add(store, "r2", "b", "Portrait", one, 1.6)
    add(store, "r3", "c", "Matting", two, 1.6)
    rows = compare_runs(
        [(str(store.root), name, f"media.background={name}") for name in ("r1", "r2", "r3", "gone")], StorageSettings()
    )
    assert [(row.model, row.frames_per_s, row.matte_ms) for row in rows] == [
        *(("Demo", 2.0, 250.0), ("Portrait", 2.0, 400.0), ("Matting", 2.0, 400.0))
    ]
    assert {row.megabytes for row in rows} == {60_000.0}, "no video is read only for its length"
    assert [row.matte_difference for row in rows][:2] == [0.0, 0.0]
    assert rows[2].matte_difference is not None
    read = list(csv.DictReader(io.StringIO(as_csv(rows).decode())))
    assert (read[1]["model"], read[1]["job"]) == ("Portrait", "media.background=r2")
    long = replace(rows[0], input=f"file:///{'long ' * 40}[b]clip.mp4", model="General Use (Light 2K)")
    show([long, *rows])
    names, first, *_ = capsys.readouterr().out.splitlines()
    assert names.split()[-2:] == ["matte", "difference"]
    assert long.input in first
    assert long.model in first
    assert first.split()[-1] == "0.0"
