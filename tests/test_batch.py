"""Whole videos through the shipped model: results, records, resume, bad input, interruption."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import jsonschema
import numpy as np
import pytest
from clips import make_clip, read_frames
from safetensors.torch import load_file, save_file
from trivial import TrivialEngine
from video_clips import destroy

from birefnet_batch import (
    BirefnetBatchError,
    ConfigError,
    InputError,
    Request,
    RunSummary,
    Settings,
    process_video,
    run,
)
from birefnet_batch.errors import OutputError, OutputLostError, ProblemsError
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.jobs import Job
from birefnet_batch.models import demo
from birefnet_batch.progress import Progress
from birefnet_batch.schemas import job_schema, result_schema
from birefnet_batch.settings import MediaSettings, OnInvalid, Resume
from birefnet_batch.storage import backoff
from birefnet_batch.storage.lease import Lease


class Quiet(Progress):
    """Shows nothing."""

    def __init__(self) -> None:
        super().__init__(1, open(os.devnull, "w"))  # noqa: PTH123, SIM115

    def show_frames(self) -> None: ...

    def show_ended(self, line: str) -> None: ...


def request(path: Path, **fields: Any) -> Request:
    return Request.from_dict(
        {"video_url": str(path), "model": "demo", "operating_resolution": 256, "video_write_mode": "fast", **fields}
    )


def settings(output: Path, **changes: Any) -> Settings:
    return replace(Settings(), output=str(output), **changes)


def run_all(output: Path, *requests: Request, **changes: Any) -> tuple[RunSummary, list[JobOutcome]]:
    outcomes: list[JobOutcome] = []
    summary = run(settings(output, **changes), requests, progress=Quiet(), on_outcome=outcomes.append)
    return summary, outcomes


def job_folder(output: Path, stem: str = "clip") -> Path:
    (folder,) = (output / "jobs").glob(f"{stem}-*")
    return folder


def files_of(output: Path) -> list[str]:
    return sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=7)


@pytest.fixture
def trivial_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mattes in no time, for what is not about mattes."""
    monkeypatch.setattr(
        "birefnet_batch.engines.open_engine", lambda name, **spec: TrivialEngine(spec["width"], spec["height"])
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_video_comes_out_with_its_frames_times_sound_and_records(tmp_path: Path, output: Path) -> None:
    clip = make_clip(tmp_path / "My clip.mp4", frames=7, audio=True)
    result = process_video(request(clip, output_mask=True), output=output)
    folder = job_folder(output, "my-clip")
    written = json.loads((folder / "result.json").read_text())
    assert written == result.to_dict()
    jsonschema.validate(written, result_schema())
    video, source = folder / "my-clip.mp4", read_frames(clip)
    assert result.video.url == video.as_uri()
    assert (result.video.num_frames, result.video.width, result.video.height) == (7, 128, 96)
    assert result.video.fps == pytest.approx(25)
    assert result.video.duration == pytest.approx(7 / 25)
    assert result.video.file_size == video.stat().st_size
    assert result.video.content_type == "video/mp4"
    made, mask = read_frames(video), read_frames(folder / "my-clip_mask.mp4")
    assert made.times == mask.times == source.times
    assert (made.audio_tracks, mask.audio_tracks) == (1, 0)

    record = json.loads((folder / "job.json").read_text())
    jsonschema.validate(record, job_schema())
    assert record["status"] == "succeeded"
    assert record["source"]["frames"] == 7
    assert len(record["source"]["sha256"]) == len(record["model"]["weights_sha256"]) == 64
    assert record["engine"]["precision"] == "fp32"
    assert record["outputs"]["mask_video"] == str((folder / "my-clip_mask.mp4").relative_to(output))
    assert {"decode", "matte", "foreground", "encode_video", "encode_mask", "total"} <= record["timings"].keys()
    assert (folder / f"complete-{record['key']}").exists()

    (line,) = map(json.loads, (output / "manifest.jsonl").read_text().splitlines())
    assert line == {
        "job_id": folder.name,
        "input": clip.as_uri(),
        "status": "succeeded",
        "result": f"jobs/{folder.name}/result.json",
        "error": None,
    }
    (run_folder,) = (output / "runs").iterdir()
    run_record = json.loads((run_folder / "run.json").read_text())
    assert run_record["status"] == "finished"
    assert run_record["counts"]["succeeded"] == 1
    assert not (output / ".scratch").exists()


def test_the_background_stands_where_the_matte_is_empty(clip: Path, output: Path) -> None:
    media = MediaSettings(background="#ff0000")
    run_all(output, request(clip, output_mask=True, video_quality="maximum"), media=media)
    folder = job_folder(output)
    made = read_frames(folder / "clip.mp4").images
    mask = read_frames(folder / "clip_mask.mp4").images[..., 0]
    empty = mask < 2
    assert empty.mean() > 0.02, "the clip should have background in it"
    # Chroma has half the resolution, so edges mix; the middle of what is empty does not.
    assert np.median(np.abs(made[empty].astype(int) - [255, 0, 0])) <= 6


def test_complete_jobs_are_skipped_and_left_untouched(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    before = {name: (output / name).stat().st_mtime_ns for name in files_of(output) if name.startswith("jobs/")}
    summary, outcomes = run_all(output, request(clip))
    assert (summary.skipped, summary.succeeded, summary.ok) == (1, 0, True)
    assert outcomes[0].result_path is not None
    after = {name: (output / name).stat().st_mtime_ns for name in files_of(output) if name.startswith("jobs/")}
    assert after == before
    assert json.loads((output / "manifest.jsonl").read_text())["status"] == "succeeded"
    assert process_video(request(clip), output=output).video.num_frames == 7
    with pytest.raises(ConfigError, match="has 1 jobs of earlier runs, and resume=never; give another output"):
        run_all(output, request(clip), resume=Resume.never)


def test_the_same_key_gives_the_same_bytes(clip: Path, output: Path) -> None:
    run_all(output, request(clip, output_mask=True))
    folder = job_folder(output)
    first = {path.name: path.read_bytes() for path in folder.glob("*.mp4")}
    summary, _ = run_all(output, request(clip, output_mask=True), resume=Resume.force)
    assert summary.succeeded == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.mp4")} == first
    assert len(first) == 2


@pytest.mark.parametrize("change", ["source", "settings", "weights"])
def test_a_changed_source_setting_or_checkpoint_is_done_again(
    clip: Path, output: Path, tmp_path: Path, change: str
) -> None:
    run_all(output, request(clip))
    (old,) = job_folder(output).glob("complete-*")
    media = MediaSettings(background="white" if change == "settings" else "black")
    if change == "source":
        make_clip(clip, frames=5)
    if change == "weights":
        shipped = Path(demo.__file__).parent / "demo.safetensors"
        tensors = load_file(shipped)
        next(tensor for tensor in tensors.values() if tensor.is_floating_point()).add_(0.001)
        save_file(tensors, tmp_path / "other.safetensors")
    weights = {"demo": str(tmp_path / "other.safetensors")} if change == "weights" else {}
    summary, _ = run_all(output, request(clip), media=media, weights=weights)
    assert summary.succeeded == 1
    (new,) = job_folder(output).glob("complete-*")
    assert new.name != old.name
    assert json.loads((job_folder(output) / "job.json").read_text())["source"]["frames"] == (
        5 if change == "source" else 7
    )


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.parametrize("name", ["clip.mp4", "result.json", "job.json"])
def test_a_complete_job_that_lost_a_file_is_done_again(clip: Path, output: Path, name: str) -> None:
    run_all(output, request(clip))
    (job_folder(output) / name).unlink()
    assert run_all(output, request(clip))[0].succeeded == 1
    assert (job_folder(output) / name).exists()


def test_a_repetition_that_fails_keeps_the_result_and_is_told_of_until_one_succeeds(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    content, result = clip.read_bytes(), (job_folder(output) / "clip.mp4").read_bytes()
    clip.unlink()
    assert run_all(output, request(clip))[0].failed == 1
    clip.write_bytes(content[: len(content) // 3])
    assert run_all(output, request(clip))[0].failed == 1
    assert (job_folder(output) / "clip.mp4").read_bytes() == result
    failed = json.loads((job_folder(output) / "failed.json").read_text())
    jsonschema.validate(failed, job_schema())
    assert "clip.mp4" in failed["error"]["message"]
    (line,) = (output / "manifest.jsonl").read_text().splitlines()
    assert (json.loads(line)["status"], json.loads(line)["result"]) == ("failed", None)
    clip.write_bytes(content)
    assert run_all(output, request(clip), resume=Resume.force)[0].succeeded == 1
    assert not (job_folder(output) / "failed.json").exists()


def broken_missing(path: Path) -> None:
    path.unlink()


def broken_text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def broken_empty(path: Path) -> None:
    path.write_bytes(b"")


def broken_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def broken_audio_only(path: Path) -> None:
    make_clip(path, frames=0, audio=True)


@pytest.mark.parametrize(
    "break_it",
    [broken_missing, broken_text, broken_empty, broken_truncated, broken_audio_only],
    ids=lambda f: f.__name__,
)
def test_a_bad_input_costs_one_clear_error_and_the_rest_goes_on(
    break_it: Callable[[Path], None], clip: Path, output: Path, tmp_path: Path
) -> None:
    bad = make_clip(tmp_path / "bad.mp4", frames=12)
    break_it(bad)
    summary, outcomes = run_all(output, request(bad), request(clip))
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    ((uri, reason),) = summary.failures
    assert uri == bad.as_uri()
    assert "bad.mp4" in reason
    assert len(reason.splitlines()) == 1
    assert "Traceback" not in reason
    record = json.loads((job_folder(output, "bad") / "job.json").read_text())
    jsonschema.validate(record, job_schema())
    assert record["status"] == "failed"
    assert record["error"]["type"] == "InputError"
    assert files_of(job_folder(output, "bad")) == ["job.json"]
    with pytest.raises(InputError, match="bad.mp4"):
        process_video(request(bad), output=output)


def test_missing_weights_fail_their_videos_and_no_others(clip: Path, output: Path, tmp_path: Path) -> None:
    weights = {"portrait": str(tmp_path / "nowhere")}
    portrait = Request(str(clip), model="Portrait")
    summary, outcomes = run_all(output, portrait, request(clip), weights=weights)
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    assert "weights" in summary.failures[0][1]
    assert outcomes[0].exception is not None


@pytest.mark.usefixtures("trivial_engine")
def test_a_video_behind_a_url_is_fetched_and_named_without_its_secrets(clip: Path, output: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/clip.mp4?token=hunter2"
        first = process_video(Request(url, model="Demo", operating_resolution="256x256"), output=output)
        summary, _ = run_all(output, request(Path("x"), video_url=url))
        signed_again, _ = run_all(output, request(Path("x"), video_url=url + "3"))
        server.shutdown()
    assert first.video.num_frames == 7
    record = json.loads(next(output.glob("jobs/clip-*/job.json")).read_text())
    assert record["source"]["uri"] == url.partition("?")[0]
    assert record["source"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert summary.ok
    assert (signed_again.skipped, signed_again.ok) == (1, True)
    assert not [name for name in files_of(output) if "hunter2" in (output / name).read_text(errors="replace")]
    assert not (output / ".scratch").exists()


@pytest.mark.parametrize(
    ("output_type", "content_type", "suffix"),
    [("vp9", "video/webm", ".webm"), ("prores4444", "video/quicktime", ".mov"), ("gif", "image/gif", ".gif")],
)
def test_every_output_type_gives_a_video_and_a_mask_of_that_type(
    clip: Path, output: Path, output_type: str, content_type: str, suffix: str
) -> None:
    result = process_video(request(clip, video_output_type=output_type, output_mask=True), output=output)
    assert result.mask_video is not None
    for media in (result.video, result.mask_video):
        assert (media.content_type, Path(media.file_name).suffix) == (content_type, suffix)
        assert media.num_frames == 7
        assert media.duration == pytest.approx(7 / 25)
    record = json.loads((job_folder(output) / "job.json").read_text())
    assert (record["media"]["background"], record["media"]["alpha"]) == ("none", "straight")


def test_media_settings_that_no_type_of_the_run_can_have_stop_it_before_it_starts(clip: Path, output: Path) -> None:
    several = [request(clip), request(clip, video_output_type="GIF (.gif)")]
    with pytest.raises(ConfigError) as caught:
        run_all(output, *several, media=MediaSettings(background="none", hardware="require"))
    message = str(caught.value)
    assert "media.background=none needs an output type with an alpha channel" in message
    assert "VP9 (.webm)" in message
    assert "no hardware encoder writes GIF (.gif)" in message
    assert not output.exists()


def test_where_bad_entries_are_skipped_a_type_that_does_not_fit_costs_its_video_alone(clip: Path, output: Path) -> None:
    several = [request(clip), request(clip, video_output_type="GIF (.gif)")]
    media = MediaSettings(background="none")
    summary, _ = run_all(output, *several, media=media, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert "media.background=none needs an output type with an alpha channel" in summary.failures[0][1]


def test_sync_mode_returns_the_media_and_keeps_none(clip: Path, output: Path) -> None:
    result = process_video(request(clip, sync_mode=True, output_mask=True), output=output)
    folder = job_folder(output)
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["complete", "job.json", "result.json"]
    head, _, body = result.video.url.partition(",")
    assert head == "data:video/mp4;base64"
    copy = folder.parent / "copy.mp4"
    copy.write_bytes(base64.b64decode(body))
    assert len(read_frames(copy).times) == 7
    assert json.loads((folder / "job.json").read_text())["outputs"] == {"result": f"jobs/{folder.name}/result.json"}
    assert "base64" not in (output / "manifest.jsonl").read_text()
    assert "no media file is kept" in json.loads((folder / "job.json").read_text())["notes"][-1]

    again = process_video(replace(request(clip), video_url=result.video.url), output=output)
    assert again.video.num_frames == 7
    assert body not in "".join(path.read_text(errors="replace") for path in output.glob("jobs/video-*/job.json"))
    assert body not in "".join(path.read_text(errors="replace") for path in output.glob("runs/*/*"))
    assert body not in (output / "manifest.jsonl").read_text()


def test_segments_join_to_the_frames_and_times_of_the_whole(tmp_path: Path, output: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=11, audio=True, keyframes=4)
    whole = process_video(request(clip), output=output / "whole")
    parts = process_video(
        request(clip), output=output / "parts", settings=Settings(media=MediaSettings(segment_frames=4))
    )
    one, many = (read_frames(job_folder(output / name) / "clip.mp4") for name in ("whole", "parts"))
    assert many.times == one.times
    assert many.audio_tracks == 1
    assert (parts.video.num_frames, parts.video.duration) == (whole.video.num_frames, whole.video.duration)
    assert json.loads((job_folder(output / "parts") / "job.json").read_text())["segments"] == 3


@pytest.mark.usefixtures("trivial_engine")
def test_damage_that_every_segment_may_have_is_too_much_for_the_whole(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=48, keyframes=4)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for start, size in places[7::8]:
        content[start : start + size] = bytes(size)
    path.write_bytes(content)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=8))
    assert outcome.status == "failed"
    assert "is damaged: 6 of 48 frames cannot be decoded, and 5%, or 3, are the most that" in str(outcome.error)


@pytest.mark.usefixtures("trivial_engine")
def test_a_damaged_group_of_one_segment_is_no_more_than_it_is_of_the_whole(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=104, keyframes=5)
    with av.open(str(path)) as container:
        start, size = next((packet.pos, packet.size) for packet in list(container.demux(video=0))[40:])
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=20))
    assert outcome.status == "succeeded"
    # More than three, and more than 5 % of the segment's.
    assert json.loads((job_folder(output) / "job.json").read_text())["source"]["corrupt_frames"] in (4, 5)


@pytest.mark.usefixtures("trivial_engine")
def test_a_last_segment_that_lost_every_frame_costs_no_more_than_its_frames(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=6, size=(64, 48), keyframes=3)
    destroy(path, range(3, 6), kept=5)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=3))
    assert outcome.status == "succeeded", outcome.error
    record = json.loads((job_folder(output) / "job.json").read_text())
    assert (record["segments"], record["source"]["frames"], record["source"]["corrupt_frames"]) == (2, 3, 3)
    assert read_frames(job_folder(output) / "clip.mp4").times == [0, Fraction(1, 25), Fraction(2, 25)]


@pytest.mark.usefixtures("trivial_engine")
def test_a_decoder_that_dies_is_replaced_and_the_video_tried_again(
    clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.errors import DecoderCrashError
    from birefnet_batch.executors import prepare

    probe, calls = prepare.probe, []

    def crashing(path: Path, *bounds: float) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise DecoderCrashError("the decoder died")
        return probe(path, *bounds)

    monkeypatch.setattr(prepare, "probe", crashing)
    summary, _ = run_all(output, request(clip))
    assert summary.ok
    assert json.loads((job_folder(output) / "job.json").read_text())["attempts"] == 2


@pytest.mark.usefixtures("trivial_engine")
def test_an_interrupt_leaves_finished_videos_whole_and_no_partial_file(
    clip: Path, output: Path, tmp_path: Path
) -> None:
    second = make_clip(tmp_path / "second.mp4", frames=40)

    class Impatient(Quiet):
        def frames(self, count: int) -> None:
            super().frames(count)
            if self.done and self.frame_count > 10:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(settings(output), [request(clip), request(second)], progress=Impatient())
    assert not list((output / "jobs").glob("second-*"))
    assert not (output / ".scratch").exists()
    assert len(read_frames(job_folder(output) / "clip.mp4").times) == 7
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 1
    (run_folder,) = (output / "runs").iterdir()
    assert json.loads((run_folder / "run.json").read_text())["status"] == "interrupted"
    summary, _ = run_all(output, request(clip), request(second))
    assert (summary.skipped, summary.succeeded) == (1, 1)
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 2


def test_an_interrupt_while_a_video_is_told_of_lets_the_executor_end_what_it_does(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def drains(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        first, second, _ = jobs
        try:
            yield JobOutcome(first, "failed", error="no")
        except KeyboardInterrupt:
            yield JobOutcome(second, "failed", error="no")
            raise

    def interrupted(outcome: JobOutcome) -> None:
        told.append(outcome.job.stem)
        if len(told) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=drains))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b", "c")]
    with pytest.raises(KeyboardInterrupt):
        run(settings(output), requests, progress=Quiet(), on_outcome=interrupted)
    assert told == ["a", "b"]
    assert len((output / "manifest.jsonl").read_text().splitlines()) == 2


def test_an_exception_while_a_video_is_told_of_ends_the_executors_work_before_the_output_is_given_back(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def working(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        try:
            for job in jobs:
                yield JobOutcome(job, "failed", error="no")
        finally:
            seen.append(bool(list(output.glob(".lease/*.json"))))

    def mistaken(_: JobOutcome) -> None:
        raise ValueError("a caller's mistake")

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=working))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b")]
    with pytest.raises(ValueError, match="a caller's mistake") as held:
        run(settings(output), requests, progress=Quiet(), on_outcome=mistaken)
    assert seen == [True], f"while somebody still has {held.value!r}"


def test_a_run_whose_output_was_taken_over_ends_with_the_video_at_hand(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def working(jobs: Iterable[Job], _: Any) -> Iterator[JobOutcome]:
        for job in jobs:
            begun.append(job.stem)
            yield JobOutcome(job, "failed", error="no")

    def lost(_: Lease) -> None:
        raise OutputError("it was taken over by another run")

    monkeypatch.setattr("birefnet_batch.batch.make_executor", lambda _: SimpleNamespace(run=working))
    requests = [Request(f"{name}.mp4", model="Demo") for name in ("a", "b", "c")]
    with pytest.raises(OutputLostError, match="taken over by another run"):
        run(
            settings(output),
            requests,
            progress=Quiet(),
            on_outcome=lambda _: monkeypatch.setattr(Lease, "check", lost),
        )
    assert begun == ["a", "b"]


@pytest.mark.usefixtures("trivial_engine")
@pytest.mark.logs_errors
def test_a_defect_costs_its_video_only_and_says_that_it_is_one(
    clip: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.executors import prepare

    plan = prepare.plan_segments
    monkeypatch.setattr(
        prepare, "plan_segments", lambda path, info, *rest: plan(path, info, *rest) if info.frames == 7 else 1 / 0
    )
    other = make_clip(tmp_path / "other.mp4", frames=3)
    summary, outcomes = run_all(output, request(other), request(clip))
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    assert "unexpected ZeroDivisionError" in summary.failures[0][1]


@pytest.mark.usefixtures("trivial_engine")
def test_the_same_video_asked_for_twice_runs_once(clip: Path, output: Path) -> None:
    _, outcomes = run_all(output, request(clip), request(clip.parent / "x" / ".." / clip.name))
    assert len(outcomes) == 1


def test_an_empty_run_and_a_run_without_output_are_refused(clip: Path, output: Path) -> None:
    with pytest.raises(BirefnetBatchError, match="nothing to do"):
        run(settings(output), [])
    with pytest.raises(BirefnetBatchError, match="output=FOLDER"):
        run(Settings(), [request(clip)])
    assert not output.exists()


@pytest.mark.usefixtures("trivial_engine")
def test_a_full_disk_is_one_clear_error_and_leaves_no_partial_file(
    clip: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BirefnetBatchError, match="no space left on device"):
        process_video(request(clip), output=output)
    monkeypatch.undo()
    assert not list(output.glob("jobs/*/*.mp4"))
    shutil.rmtree(output)
    assert process_video(request(clip), output=output).video.num_frames == 7


@pytest.mark.usefixtures("trivial_engine")
def test_a_job_folder_that_cannot_be_used_is_one_clear_error(clip: Path, output: Path) -> None:
    run_all(output, request(clip))
    folder = job_folder(output)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    summary, _ = run_all(output, request(clip))
    assert "cannot be" in summary.failures[0][1]
    assert "not a directory" in summary.failures[0][1]
    assert "report it" not in summary.failures[0][1]


@pytest.mark.usefixtures("trivial_engine")
def test_bad_content_behind_a_url_is_named_by_the_url(tmp_path: Path, output: Path) -> None:
    (tmp_path / "page.mp4").write_text("<html>no video</html>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/page.mp4"
    summary, _ = run_all(output, replace(request(Path("x")), video_url=f"{url}?token=topsecret"))
    server.shutdown()
    server.server_close()
    assert url in summary.failures[0][1]
    assert ".scratch" not in summary.failures[0][1]
    assert "topsecret" not in summary.failures[0][1]


@pytest.mark.usefixtures("trivial_engine")
def test_requests_that_differ_in_secrets_alone_stop_the_run_or_are_left_out_on_record(
    clip: Path, output: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)
    urls = [f"http://{who}127.0.0.1:9/a.mp4" for who in ("me:pass@", "")]
    requests = [request(clip), *(replace(request(Path("x")), video_url=url) for url in (*urls, "http://[::1/b.mp4"))]
    with pytest.raises(ProblemsError, match="in nothing but its user name, password, signature or token") as caught:
        run_all(output, *requests)
    assert "http://[::1/b.mp4 is no URL that can be read" in str(caught.value)
    assert not output.exists()
    summary, outcomes = run_all(output, *requests, on_invalid=OnInvalid.skip)
    assert (summary.succeeded, summary.failed, summary.invalid, summary.ok) == (1, 1, 2, False)
    assert outcomes[0].job.uri.startswith("http://me:pass@") or outcomes[1].job.uri.startswith("http://me:pass@")
    (folder,) = (output / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["counts"]["invalid_entries"] == 2
    recorded = (folder / "invalid_entries.jsonl").read_text()
    assert "give each video another URL" in recorded
    assert len(recorded.splitlines()) == 2
    assert "pass@" not in caplog.text + recorded


def test_a_url_that_cannot_be_read_is_an_input_error_of_its_video(output: Path) -> None:
    with pytest.raises(InputError, match="is no URL that can be read"):
        process_video({"video_url": "http://[::1/x.mp4", "model": "demo"}, output=output)


@pytest.mark.usefixtures("trivial_engine")
def test_a_file_that_says_that_it_is_longer_than_its_pictures_is_noted(tmp_path: Path, output: Path) -> None:
    path = tmp_path / "clip.flv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(16):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    process_video(request(path), output=output / "whole")
    # Such a file has no table and no end of its own that would be missing.
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    process_video(request(path), output=output / "cut")
    whole, cut = (json.loads((job_folder(output / name) / "job.json").read_text()) for name in ("whole", "cut"))
    assert whole["notes"] == []
    said = r"the file says that it lasts 4\.0 s, and its pictures end after [\d.]+ s: .*complete"
    # It also has fewer bytes than it says, which is a note of its own.
    assert len([note for note in cut["notes"] if re.fullmatch(said, note)]) == 1
