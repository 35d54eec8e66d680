"""What an engine has to say of its mattes is in the record of each video that it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip
from trivial import TrivialEngine

from birefnet_batch import Request, Settings, engines, run


def test_notes_of_an_engine_are_in_the_jobs_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def open_engine(name: str, *, width: int, height: int, **_: Any) -> TrivialEngine:
        engine = TrivialEngine(width, height)
        engine.notes = ("fp16 mattes differ",)
        return engine

    monkeypatch.setattr(engines, "open_engine", open_engine)
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    request = Request.from_dict(
        {"video_url": str(clip), "model": "demo", "operating_resolution": 256, "refine_foreground": False}
    )
    run(Settings(output=str(tmp_path / "out")), [request])
    (path,) = (tmp_path / "out").glob("jobs/*/job.json")
    record = json.loads(path.read_text())
    assert record["notes"] == ["fp16 mattes differ"]
    assert record["reproducible"] is True
