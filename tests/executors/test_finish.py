"""A record says what made its segments and whether its file ends too early, and files have all of their frames."""

from __future__ import annotations

import io
import shutil
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from batch_runs import request
from clips import make_clip
from trivial import TrivialEngine
from video_clips import Clip, Sound, make, read

from birefnet_batch import Settings, engines, run
from birefnet_batch.errors import OutputError, OutputLostError
from birefnet_batch.executors import finish, worker
from birefnet_batch.executors.finish import _ends_early, _is_of_one_kind, _other_makers
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.progress import PlainProgress
from birefnet_batch.segment_task import SegmentRecord
from birefnet_batch.settings import EngineSettings
from birefnet_batch.storage.lease import Lease
from birefnet_batch.video.probe import probe

HERE = {"processor": "Zen 4", "cpu_capability": "AVX512", "gpu_driver": "570.1"}
CARD = {"family": "tensorrt", "device_name": "NVIDIA H100"}


def done(index: int, machine: dict[str, Any] | None = HERE, **engine: Any) -> SegmentDone:
    segment = SegmentRecord(index, 1, 1, {}, {})
    return SegmentDone(segment, {"precision": "fp16", **engine}, None, machine=machine)


def test_segments_of_another_engine_than_the_record_s_are_named() -> None:
    other = {"family": "torch", "device_name": "NVIDIA L4"}
    batches = [done(0, batch_size=2, **CARD), done(1, batch_size=1, **CARD)]
    assert _other_makers(batches, HERE) == [], "a halved batch is told elsewhere"
    mixed = [done(0, **other), done(1, **CARD), done(2, **other), done(3, **CARD)]
    assert _other_makers(mixed, HERE) == ["made by another engine, torch NVIDIA L4 fp16: segment 0, 2"]


def test_segments_of_another_kind_of_machine_than_the_record_s_are_named() -> None:
    older = {**HERE, "processor": "Zen 2", "cpu_capability": "AVX2"}
    assert _other_makers([done(0, older), done(1), done(2, older), done(3, None)], HERE) == [
        "made on another machine, processor Zen 2, cpu_capability AVX2: segment 0, 2",
        "made on a machine that is not recorded: segment 3",
    ]


def test_a_video_is_of_one_kind_where_the_record_s_engine_batch_and_machine_made_all_of_it() -> None:
    assert _is_of_one_kind([done(0, why="it is the quickest", **CARD), done(1, **CARD)], HERE)
    assert not _is_of_one_kind([done(0, batch_size=2, **CARD), done(1, batch_size=1, **CARD)], HERE)
    assert not _is_of_one_kind([done(0, family="torch"), done(1, **CARD)], HERE)
    assert not _is_of_one_kind([done(0, {**HERE, "gpu_driver": "560.2"}, **CARD), done(1, **CARD)], HERE)
    assert not _is_of_one_kind([done(0, None, **CARD), done(1, **CARD)], HERE)
    assert not _is_of_one_kind([done(0, **CARD), done(1, **CARD)], {**HERE, "processor": "that of the join"})


def test_a_video_with_fewer_frames_than_its_segments_had_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finish.join

    def lossy(*args: Any, **kwargs: Any) -> Any:
        facts = whole(*args, **kwargs)
        return replace(facts, frames=facts.frames - 1)

    monkeypatch.setattr(finish, "join", lossy)
    monkeypatch.setattr(engines, "open_engine", lambda name, *, width, height, **_: TrivialEngine(width, height))
    settings = Settings(output=str(tmp_path / "out"), engine=EngineSettings(threads=1))
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    summary = run(settings, [request(clip)], progress=PlainProgress(1, io.StringIO()))
    ((_, reason),) = summary.failures
    assert "has 2 frames where its segments had 3" in reason
    assert not list(tmp_path.glob("out/jobs/*/*.mp4"))


@pytest.mark.parametrize("lost", [False, True])
def test_a_video_whose_parts_something_removed_is_made_again_unless_its_output_went_with_them(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, segments = worker.do_segment, []

    def removed(*args: Any) -> SegmentDone:
        done = whole(*args)
        segments.append(done)
        if len(segments) == 1:
            shutil.rmtree(tmp_path / "out" / (".lease" if lost else ".scratch"))
            done.segment.parts["video"].unlink(missing_ok=True)
            # As its thread does in a while.
            Lease._renew(leases[0])
        return done

    acquire, leases = Lease.acquire, list[Lease]()
    monkeypatch.setattr(Lease, "acquire", lambda lease: (leases.append(lease), acquire(lease))[1])
    monkeypatch.setattr(worker, "do_segment", removed)
    monkeypatch.setattr(engines, "open_engine", lambda name, *, width, height, **_: TrivialEngine(width, height))
    settings = Settings(output=str(tmp_path / "out"), engine=EngineSettings(threads=1))
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    with pytest.raises(OutputLostError, match="is gone, or its .lease") if lost else nullcontext():
        assert run(settings, [request(clip)], progress=PlainProgress(1, io.StringIO())).ok
    assert len(segments) == (1 if lost else 2)
    assert ("video-00000.part is gone: something removed scratch space" in caplog.text) != lost
    assert "damaged" not in caplog.text


def test_each_try_at_a_join_writes_a_file_of_its_own_which_goes_when_it_comes_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[Path] = []
    left: list[Path] = []

    def failing(*_: Any) -> None:
        raise OutputError("the disk is full")

    def joined(tasks: Any, kind: Any, destination: Path, **more: Any) -> Any:
        staged.append(destination)
        return join(tasks, kind, destination, **more)

    join = finish.join
    monkeypatch.setattr(finish, "join", joined)
    monkeypatch.setattr(finish, "publish", failing)
    monkeypatch.setattr(engines, "open_engine", lambda name, *, width, height, **_: TrivialEngine(width, height))
    settings = Settings(output=str(tmp_path / "out"), engine=EngineSettings(threads=1))
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    for _ in range(2):
        progress = PlainProgress(1, io.StringIO())
        run(settings, [request(clip)], progress=progress, on_outcome=lambda _: left.extend(filter(Path.exists, staged)))
    assert len({path.name for path in staged}) == len(staged) >= 2
    assert left == []


@pytest.mark.parametrize("sound_s", [0.0, 5.0], ids=["late pictures", "late clock"])
def test_a_file_whose_pictures_begin_late_is_not_said_to_end_early(sound_s: float, tmp_path: Path) -> None:
    clip = Clip(
        frames=50,
        format="matroska",
        time_base=Fraction(1, 1000),
        times=[5000 + 40 * number for number in range(50)],
        sounds=(Sound(start_s=sound_s, seconds=7.0 - sound_s),),
    )
    path = make(tmp_path / "clip.mkv", clip)
    info, seen = probe(path), read(path)
    assert info.duration == pytest.approx(7.0, abs=0.1)
    end = seen.pts[-1] + seen.durations[-1]
    assert _ends_early(info, end) == []
    assert _ends_early(info, end - 1600) == [
        "the file says that it lasts 7.0 s, and its pictures end after 5.4 s: it may not be complete"
    ]
