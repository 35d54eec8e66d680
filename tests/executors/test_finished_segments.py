"""Segments of long videos outlive the run that did them, and are used when all that decides their bytes is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batch_runs import request
from clips import make_clip
from trivial import TrivialEngine

from birefnet_batch import RunSummary, Settings, engines, run
from birefnet_batch.comparison import compare_runs
from birefnet_batch.counted import Note
from birefnet_batch.executors import finish
from birefnet_batch.executors.finished_segments import find, keep
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.progress import PlainProgress
from birefnet_batch.segment_task import SegmentRecord
from birefnet_batch.settings import EngineSettings, MediaSettings, Resume, StorageSettings
from birefnet_batch.video.probe import probe

MEDIA = MediaSettings(segment_frames=8)
FRAMES = 30  # of segments of 8, 8, 8 and 6


class Interrupted(PlainProgress):
    """The user gives up when the third segment begins."""

    def frames(self, count: int) -> None:
        super().frames(count)
        if self.frame_count == 17:
            raise KeyboardInterrupt


class Case:
    """One long clip, its output, and the frames that the network was given."""

    def __init__(self, folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.clip = clip
        self.opened: list[TrivialEngine] = []
        monkeypatch.setattr(engines, "open_engine", self.open)

    def open(self, name: str, *, width: int, height: int, **_: Any) -> TrivialEngine:
        self.opened.append(TrivialEngine(width, height))
        return self.opened[-1]

    def run(self, output: str = "out", progress: type[PlainProgress] = PlainProgress, **changes: Any) -> RunSummary:
        settings = Settings(output=str(self.folder / output), engine=EngineSettings(threads=1), media=MEDIA)
        with (self.folder / "log").open("a") as log:
            wish = request(self.clip, output_mask=True)
            return run(replace(settings, **changes), [wish], progress=progress(1, log))

    @property
    def parts(self) -> list[Path]:
        return list(self.folder.glob("out/.scratch/*/parts/*/*.part"))

    @property
    def done(self) -> int:
        """Frames that the network was given since the last question."""
        count = sum(sum(engine.batches) for engine in self.opened)
        self.opened.clear()
        return count

    def media(self, output: str = "out") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob(f"{output}/jobs/*/*.mp4")}

    def record(self) -> dict[str, Any]:
        (path,) = self.folder.glob("out/jobs/*/job.json")
        record: dict[str, Any] = json.loads(path.read_text())
        return record


KINDS = ("mask", "video")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The clip's results in `undisturbed`, and in `out` what an interrupted run left: made once, for it takes long."""
    folder = tmp_path_factory.mktemp("begun")
    clip = make_clip(folder / "long.mp4", frames=FRAMES, keyframes=8, audio=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        case = Case(folder, clip, monkeypatch)
        case.run("undisturbed")
        assert case.done == FRAMES
        with pytest.raises(KeyboardInterrupt):
            case.run(progress=Interrupted)
        assert case.done >= 17
    assert sorted(path.name for path in case.parts) == [f"{kind}-0000{i}.part" for kind in KINDS for i in (0, 1)]
    return case


@pytest.fixture
def case(begun: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The interrupted run's clip and a copy of what it left."""
    shutil.copytree(begun.folder / "out", tmp_path / "out")
    return Case(tmp_path, begun.clip, monkeypatch)


def test_an_interrupted_video_goes_on_where_it_was_with_the_same_bytes(case: Case, begun: Case) -> None:
    for part in case.parts:
        assert probe(part).codec == "h264", "a part can be played"
    assert case.run().succeeded == 1
    assert case.done == FRAMES - 16
    assert case.media() == begun.media("undisturbed")
    assert len(case.media()) == 2
    (note,) = case.record()["notes"]
    assert note.startswith("2 of the 4 segments are of run ")
    assert case.record()["source"]["frames"] == FRAMES
    assert case.record()["source"]["sha256"]
    assert case.record()["reproducible"] is True
    assert not list(case.folder.glob("out/.scratch"))


def test_of_a_video_that_a_run_goes_on_with_it_tells_the_frames_that_its_seconds_were_for(case: Case) -> None:
    run_id = case.run().run_id
    (line,) = (case.folder / "out" / "runs" / run_id / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["frames"] == FRAMES - 16
    (row,) = compare_runs([(str(case.folder / "out"), run_id, "")], StorageSettings())
    assert (row.frames, row.frames_per_s) == (FRAMES, None)


def test_a_video_that_was_interrupted_as_it_was_published_is_only_joined_again(
    case: Case, begun: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(finish, "publish", interrupted)
        case.run()
    assert case.done == FRAMES - 16
    assert case.run().succeeded == 1
    assert case.done == 0
    assert case.media() == begun.media("undisturbed")
    assert not list(case.folder.glob("out/.scratch"))


def test_a_video_whose_first_segments_another_kind_of_machine_made_is_said_to_be_no_machine_s_to_repeat(
    case: Case,
) -> None:
    for path in case.folder.glob("out/.scratch/*/parts/*/segment-*.json"):
        record = json.loads(path.read_text())
        record["done"]["machine"]["processor"] = "another"
        path.write_text(json.dumps(record))
    assert case.run().succeeded == 1
    assert case.done == FRAMES - 16
    assert case.record()["reproducible"] is False
    assert case.record()["notes"][-1] == "made on another machine, processor another: segment 0, 1"


def test_segments_that_were_recorded_before_records_named_machines_are_used(case: Case) -> None:
    for path in case.folder.glob("out/.scratch/*/parts/*/segment-*.json"):
        record = json.loads(path.read_text())
        del record["done"]["machine"]
        path.write_text(json.dumps(record))
    assert case.run().succeeded == 1
    assert case.done == FRAMES - 16
    assert case.record()["notes"][-1] == "made on a machine that is not recorded: segment 0, 1"


@pytest.mark.parametrize(
    "changes",
    [
        {"resume": Resume.force},
        {"media": replace(MEDIA, background="0,255,0")},
        {"engine": EngineSettings(threads=2)},
    ],
    ids=["force", "background", "threads"],
)
def test_segments_of_other_settings_are_done_again(case: Case, changes: dict[str, Any]) -> None:
    assert case.run(**changes).succeeded == 1
    assert case.done == FRAMES
    assert case.record()["notes"] == []
    assert not list(case.folder.glob("out/.scratch"))


def test_a_segment_whose_part_is_damaged_is_done_again(case: Case, begun: Case) -> None:
    damaged = next(path for path in case.parts if path.name == "mask-00001.part")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (record,) = case.folder.glob("out/.scratch/*/parts/*/segment-00000.json")
    record.write_text("{")
    assert case.run().succeeded == 1
    assert case.done == FRAMES
    assert case.media() == begun.media("undisturbed")


def test_a_segment_is_kept_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    part = folder / "video-00000.part"
    part.write_bytes(b"part")
    context: Any = SimpleNamespace(run_id="run")
    plan: Any = SimpleNamespace(segments=(0, 1), record=SimpleNamespace(key="key", engine={}, versions={}))
    done = SegmentDone(SegmentRecord(0, 1, 1, {}, {"video": part}), {}, None)
    assert keep(context, plan, done) == [part, folder / "segment-00000.json"]


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., tuple[Any, list[Path]]]:
    """Keeps segment 0 of a plan for a run, by its id; the plan and the files."""
    part = tmp_path / "video-00000.part"
    plan: Any = SimpleNamespace(
        segments=(0, 1),
        record=SimpleNamespace(key="key", engine={}, versions={}),
        whole=SimpleNamespace(source=None),
        task=lambda *_: SimpleNamespace(kinds=("video",), part=lambda kind: part),
        job=SimpleNamespace(display_uri="clip.mp4"),
    )

    def keeping(run_id: str = "run", notes: tuple[Note, ...] = ()) -> tuple[Any, list[Path]]:
        part.write_bytes(b"part")
        segment = SegmentRecord(0, 1, 1, {}, {"video": part}, notes=notes)
        return plan, keep(of_run(run_id), plan, SegmentDone(segment, {}, None))

    return keeping


def of_run(run_id: str, resume: Resume = Resume.auto) -> Any:
    return SimpleNamespace(run_id=run_id, settings=replace(Settings(), resume=resume))


@pytest.mark.parametrize("there", [True, False])
def test_a_record_counts_as_long_as_its_parts_are_where_they_are_kept(
    kept: Callable[..., tuple[Any, list[Path]]], tmp_path: Path, there: bool
) -> None:
    notes = (Note("frames were deinterlaced", 1), Note("made again"))
    plan, (part, record) = kept(notes=notes)
    part.unlink()
    names = {record.name, *([part.name] if there else ())}
    found = find(of_run("run"), plan, tmp_path, names)
    assert {index: done.segment.notes for index, done in found.items()} == ({0: notes} if there else {})


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("damaged", "it is of another version of birefnet-batch, or damaged"),
        ("cut otherwise", "the video has no such segment now"),
        ("part gone", "no such file or directory ({part})"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_line_that_says_why(
    kept: Callable[..., tuple[Any, list[Path]]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    told: str,
) -> None:
    plan, (part, record) = kept()
    if trouble == "damaged":
        record.write_text("{}")
    elif trouble == "cut otherwise":
        plan.task = lambda index, *_: ()[index]
    else:
        part.unlink()
    assert find(of_run("run"), plan, tmp_path) == {}
    said = "segment-00000.json of clip.mp4 cannot be used, its segment is done again: "
    assert caplog.messages == [said + told.format(part=part)]


@pytest.mark.parametrize("maker", ["this run", "an earlier one"])
def test_with_force_a_further_try_goes_on_and_what_earlier_runs_made_is_joined_by_no_later_one(
    kept: Callable[..., tuple[Any, list[Path]]], tmp_path: Path, maker: str
) -> None:
    plan, _ = kept(maker)
    own = [0] if maker == "this run" else []
    assert list(find(of_run("this run", Resume.force), plan, tmp_path)) == own
    assert list(find(of_run("a later one"), plan, tmp_path)) == own


@pytest.mark.slow
def test_a_killed_program_loses_no_finished_segment(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "long.mp4", frames=24, keyframes=8)
    words = [
        *(sys.executable, "-m", "birefnet_batch", f"request.video_url={clip}", "request.model=demo"),
        *("request.operating_resolution=256", "media.segment_frames=8", "engine.threads=1"),
    ]
    subprocess.run([*words, f"output={tmp_path / 'undisturbed'}"], check=True)
    words.append(f"output={tmp_path / 'out'}")
    process = subprocess.Popen(words)
    until = time.monotonic() + 100
    while not list(tmp_path.glob("out/.scratch/*/parts/*/segment-*.json")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(words, check=True)
    (path,) = tmp_path.glob("out/jobs/*/job.json")
    assert "of the 3 segments are of run" in json.loads(path.read_text())["notes"][0]
    made, expected = (
        {p.name: p.read_bytes() for p in tmp_path.glob(f"{o}/jobs/*/*.mp4")} for o in ("out", "undisturbed")
    )
    assert made == expected
    assert not list(tmp_path.glob("out/.scratch"))
