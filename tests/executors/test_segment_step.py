"""What an engine has to say of its mattes is in the record, and a segment is made with the checkpoint that is there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clips import make_clip
from trivial import TrivialEngine

from birefnet_batch import Request, Settings, engines, run
from birefnet_batch.errors import ElsewhereError
from birefnet_batch.executors.segment_step import do_segment
from birefnet_batch.video import hardware


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


def begun(weights: str, encoder: str = "libx264") -> Any:
    """The plan of a video that was begun with a checkpoint and an encoder."""
    job = SimpleNamespace(request=SimpleNamespace(model="Mine", size=(64, 64)), display_uri="film.mp4")
    encode = SimpleNamespace(output_type="X264 (.mp4)", encoder=encoder)
    return SimpleNamespace(
        job=job,
        record=SimpleNamespace(model=SimpleNamespace(weights_sha256=weights)),
        whole=SimpleNamespace(encode=encode),
        facts=None,
    )


def test_a_segment_is_not_made_with_another_checkpoint_than_its_video_was_begun_with() -> None:
    spec = SimpleNamespace(name="Mine", short_name="mine")
    engines: Any = SimpleNamespace(model=lambda name: spec, weights=lambda spec: SimpleNamespace(sha256="b" * 64))
    workspace: Any = SimpleNamespace(path=lambda job, facts: 1 / 0)
    observer: Any = None
    with pytest.raises(
        ElsewhereError, match=r"Mine on .* \(sha256 bbbbbbbbbbbb\) than where film.mp4 was begun \(aaaa"
    ):
        do_segment(engines, workspace, begun("a" * 64), 1, observer)


@pytest.mark.parametrize(
    ("encoder", "trouble"), [("h264_nvenc", "no card"), ("h264_nvenc", None), ("libx264", "no card")]
)
def test_a_segment_is_for_others_where_the_encoder_does_not_work_that_its_video_was_begun_with(
    encoder: str, trouble: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "why_not", lambda encoder: trouble)
    spec = SimpleNamespace(name="Mine", short_name="mine")
    engines: Any = SimpleNamespace(model=lambda name: spec, weights=lambda spec: SimpleNamespace(sha256="a" * 64))
    workspace: Any = SimpleNamespace(path=lambda job, facts: 1 / 0)
    observer: Any = None
    refused = encoder == "h264_nvenc" and trouble is not None
    expected = ElsewhereError if refused else ZeroDivisionError
    told = "film.mp4 was begun with h264_nvenc, which does not work on .*: no card" if refused else "division"
    with pytest.raises(expected, match=told):
        do_segment(engines, workspace, begun("a" * 64, encoder), 1, observer)
