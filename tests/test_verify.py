"""A run's videos repeated and compared with what it left."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip

from birefnet_batch import Request, Settings, results, run
from birefnet_batch import verify as verify_module
from birefnet_batch.errors import OutputLostError
from birefnet_batch.media_difference import Difference
from birefnet_batch.progress import make_progress
from birefnet_batch.results import JobRecord, SourceRecord
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.verify import differing
from birefnet_batch.verify_command import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one video with its mask."""
    folder = tmp_path_factory.mktemp("made")
    clip = make_clip(folder / "clip.mp4", frames=3, size=(64, 48))
    fields = {"model": "demo", "operating_resolution": 256, "output_mask": True, "video_write_mode": "fast"}
    request = Request.from_dict({"video_url": str(clip), **fields})
    run(replace(Settings(), output=str(folder / "out")), [request], command=["test"])
    return folder / "out"


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def job_file(output: Path, name: str) -> Path:
    (found,) = output.glob(f"jobs/*/{name}")
    return found


def change(output: Path, change_it: Callable[[dict[str, Any]], None]) -> None:
    """Change the job's record."""
    path = job_file(output, "job.json")
    record = json.loads(path.read_text())
    change_it(record)
    path.write_text(json.dumps(record))


def add_twin(output: Path) -> None:
    """Give the run a second job with the same media."""
    job = job_file(output, "job.json").parent
    twin = shutil.copytree(job, job.with_name("twin"))
    (twin / "job.json").write_text((twin / "job.json").read_text().replace(job.name, twin.name))


def repeat_by_copying(monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    """Stand in for the work itself, which another test does: the repeat gives what the run gave."""

    def copying(settings: Settings, *_: Any, **__: Any) -> None:
        shutil.copytree(made, str(settings.output))

    monkeypatch.setattr(verify_module, "run", copying)


def verified(output: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = main([str(output), "--json", *words])
    (compared,) = json.loads(capsys.readouterr().out)
    return status, compared


def recorded(output: Path, record: dict[str, Any]) -> None:
    """Let the record describe the media as they are now."""
    for name in record["outputs_sha256"]:
        media = (output / record["outputs"][name]).read_bytes()
        record["outputs_sha256"][name] = hashlib.sha256(media).hexdigest()


def give_other_bytes(output: Path) -> None:
    """Give the media other bytes and the same frames."""
    for media in output.glob("jobs/*/*.mp4"):
        media.write_bytes(media.read_bytes() + b"\0\0\0\x08free")
    change(output, lambda record: recorded(output, record))


def test_a_repeat_on_the_same_machine_gives_the_same_bytes(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in output.rglob("*"))
    assert main([str(output), "--sample", "1", "storage.timeout_s=5"]) == 0
    assert "1 identical" in capsys.readouterr().out
    assert sorted(path for path in output.rglob("*")) == before


def test_other_bytes_of_the_same_machine_and_versions_are_a_difference(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeat_by_copying(monkeypatch, made)
    give_other_bytes(output)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"], compared["reason"]) == (1, "differs", "everything else is the same")


def test_a_file_that_was_changed_or_removed_after_it_was_written_is_no_match(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeat_by_copying(monkeypatch, made)
    media = job_file(output, "clip.mp4")
    content = bytearray(media.read_bytes())
    content[len(content) // 2] ^= 1
    media.write_bytes(content)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "differs")
    assert "video is not what its record describes" in compared["reason"]
    again = f"without the folder jobs/{media.parent.name} the command of its run makes it again"
    assert compared["reason"].endswith(again)
    media.unlink()
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "unavailable")
    assert compared["reason"] == "its video is gone; the command of its run makes it again"


@pytest.mark.parametrize("content", [None, "{"])
def test_a_complete_video_whose_record_is_gone_or_damaged_is_named(
    output: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    job_file(output, "job.json").unlink()
    if content is not None:
        (job_file(output, "result.json").parent / "job.json").write_text(content)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "unavailable")
    assert "its job.json is gone or damaged; without the folder jobs/" in compared["reason"]


def test_of_a_sample_so_many_records_are_read_and_one_more_for_each_that_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for number in range(100):
        job_id, status = f"clip-{number}", "failed" if number < 10 else "succeeded"
        store.put(f"jobs/{job_id}/complete-x", b"")
        content = JobRecord(job_id, status, {}, SourceRecord("file:///clip.mp4")).to_json() if number < 80 else b"{"
        store.put(f"jobs/{job_id}/job.json", content)
    read: list[str] = []
    numbers, four = count(), threading.Barrier(4, timeout=60)

    def read_record(store: LocalStore, job_id: str) -> JobRecord | None:
        read.append(job_id)
        if next(numbers) < 4:
            four.wait()
        return results.read_record(store, job_id)

    monkeypatch.setattr(verify_module, "read_record", read_record)
    found, damaged = verify_module.succeeded_records(store, 20, seed=3)
    assert len(found) == 20
    assert {record.status for record in found} == {"succeeded"}
    no_success = [job_id for job_id in read if int(job_id.removeprefix("clip-")) < 10]
    assert damaged, "they are named"
    assert sorted(read) == sorted([*(record.job_id for record in found), *damaged, *no_success])
    assert verify_module.succeeded_records(store, 20, seed=3) == (found, damaged)
    assert len(verify_module.succeeded_records(store, None, seed=3)[0]) == 70


@pytest.mark.parametrize("content", ["", "{", '{"video": {"url": "http://elsewhere"}}'])
def test_a_result_that_is_damaged_or_of_other_files_is_no_match(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    repeat_by_copying(monkeypatch, made)
    job_file(output, "result.json").write_text(content)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "differs")
    assert "its result.json is gone or damaged, or is of other files" in compared["reason"]


def test_near_frames_of_another_machine_are_close_and_far_ones_differ(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeat_by_copying(monkeypatch, made)

    def elsewhere(record: dict[str, Any]) -> None:
        record["machine"]["gpus"] = ["another"]
        record["engine"]["batch_size"] = 3

    give_other_bytes(output)
    change(output, elsewhere)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (0, "close")
    assert compared["reason"] == "made with another gpus, engine batch_size"
    make_clip(job_file(output, "clip.mp4"), frames=3, size=(64, 48))
    change(output, lambda record: recorded(output, record))
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "differs")
    assert compared["psnr_db"] < 40
    make_clip(job_file(output, "clip.mp4"), frames=2, size=(64, 48))
    change(output, lambda record: recorded(output, record))
    assert "ends after 2 frames" in verified(output, capsys)[1]["reason"]


def test_other_bytes_of_a_video_that_several_kinds_of_machines_made_are_no_difference_while_frames_are_near(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeat_by_copying(monkeypatch, made)
    give_other_bytes(output)
    change(output, lambda record: record.update(reproducible=False))
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (0, "close")
    assert compared["reason"] == "made with another batch, engine or machine for a part of it"


@pytest.mark.parametrize(("error", "verdict"), [(0.001, "close"), (0.01, "differs")])
def test_the_transparency_of_another_machine_must_be_close_too(
    output: Path,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: float,
    verdict: str,
) -> None:
    repeat_by_copying(monkeypatch, made)
    give_other_bytes(output)
    change(output, lambda record: record["machine"].update(gpus=["another"]))
    differences = {"kept-video": Difference(alpha_error=error), "kept-mask_video": Difference()}
    monkeypatch.setattr(verify_module, "compare_media", lambda kept, _: differences[kept.name])
    compared = verified(output, capsys)[1]
    assert (compared["verdict"], compared["matte_error"]) == (verdict, error)


def test_what_another_encoder_wrote_is_not_called_the_same(made: Path) -> None:
    record = JobRecord.from_json(job_file(made, "job.json").read_bytes())
    assert differing(record, record) == []
    assert differing(record, replace(record, media={**record.media, "encoder": "h264_nvenc"})) == ["encoder"]


def test_how_a_batch_was_found_is_no_difference_of_the_engines() -> None:
    """A repeat is given the number that was measured."""
    repeat = JobRecord("job", "succeeded", {}, SourceRecord("clip.mp4"), engine={"family": "torch", "batch_size": 6})
    why = {"batch_size_why": "measured: the quickest of those that fit into 8 GiB"}
    assert differing(replace(repeat, engine={**(repeat.engine or {}), **why}), repeat) == []


@pytest.mark.parametrize(
    ("of", "digest", "reason"),
    [
        ("source", "sha256", "its source has changed since"),
        ("model", "weights_sha256", "its weights are other ones than those that it was made with"),
    ],
)
def test_what_cannot_be_repeated_says_why(
    of: str,
    digest: str,
    reason: str,
    output: Path,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repeat_by_copying(monkeypatch, made)
    change(output, lambda record: record[of].update({digest: "1" * 64}))
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"], compared["reason"]) == (1, "unavailable", reason)


@pytest.mark.parametrize("error", [OutputLostError("no room is left"), OSError(errno.ENOSPC, "no room is left")])
def test_a_repeat_that_ends_too_early_costs_only_what_was_not_repeated_its_verdict(
    output: Path,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def ending(settings: Settings, *_: Any, finished: bool, **__: Any) -> None:
        if finished:
            shutil.copytree(made, str(settings.output))
        raise error

    monkeypatch.setattr(verify_module, "run", partial(ending, finished=False))
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "unavailable")
    assert compared["reason"].startswith("it was not repeated: ")
    assert "no room is left" in compared["reason"]
    monkeypatch.setattr(verify_module, "run", partial(ending, finished=True))
    assert verified(output, capsys)[1]["verdict"] == "identical"


def test_a_video_whose_files_have_no_room_beside_its_repeat_is_named(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no room is left")

    repeat_by_copying(monkeypatch, made)
    monkeypatch.setattr(verify_module, "bring_media", full)
    status, compared = verified(output, capsys)
    assert (status, compared["verdict"]) == (1, "unavailable")
    assert "no room is left" in compared["reason"]


def test_a_repeat_is_removed_as_soon_as_it_is_compared(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_twin(output)
    repeat_by_copying(monkeypatch, output)
    scratch, compare, there = tmp_path / "scratch", verify_module._compare, []

    def counted(*arguments: Any) -> verify_module.Comparison:
        there.append(len(list(scratch.glob("*/jobs/*"))))
        return compare(*arguments)

    monkeypatch.setattr(verify_module, "_compare", counted)
    compared = verify_module.verify(LocalStore(output), StorageSettings(), scratch, progress=make_progress)
    assert [item.verdict for item in compared] == ["identical", "identical"]
    assert there == [2, 1]
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(("damage", "verdict"), [(False, "identical"), (True, "unavailable")])
def test_the_record_of_a_run_is_read_once_for_all_of_its_videos(
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: bool,
    verdict: str,
) -> None:
    add_twin(output)
    kept = shutil.copytree(output, tmp_path / "kept")
    repeat_by_copying(monkeypatch, kept)
    read, asked = verify_module.read_settings, []

    def counted(store: LocalStore, run_id: str) -> Settings:
        asked.append(run_id)
        return read(store, run_id)

    monkeypatch.setattr(verify_module, "read_settings", counted)
    if damage:
        shutil.rmtree(output / "runs")
    main([str(output), "--json"])
    assert [item["verdict"] for item in json.loads(capsys.readouterr().out)] == [verdict, verdict]
    assert len(asked) == 1


def test_an_input_and_a_run_record_that_are_not_kept_are_named(
    output: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repeat_by_copying(monkeypatch, made)
    change(output, lambda record: record["source"].update(uri="data:video/mp4;sha256=0123456789abcdef,..."))
    assert "data URI" in verified(output, capsys)[1]["reason"]
    shutil.rmtree(output / "runs")
    change(output, lambda record: record["source"].update(uri="file:///x.mp4"))
    assert "run.json is gone or damaged" in verified(output, capsys)[1]["reason"]


def test_scratch_space_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--scratch", str(tmp_path / "file")])
    assert "file is a file; give a folder" in capsys.readouterr().err


def test_scratch_space_that_cannot_be_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--scratch", str(tmp_path / ("x" * 300) / "y")]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_without_a_folder_for_temporary_files_it_says_to_set_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: temporary files cannot be written: no usable temporary directory found in ")
    assert said.endswith("; set TMPDIR to a folder that can be written\n")


def test_an_output_without_results_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "nothing to verify" in capsys.readouterr().err


def test_a_verification_that_the_system_ends_leaves_no_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(store: object, storage: object, scratch: Path, **_: object) -> list[object]:
        (scratch / "repeat").write_bytes(b"large")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        return []

    monkeypatch.setattr(verify_module, "verify", ended)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert main([str(tmp_path), "--scratch", str(tmp_path / "scratch")]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list((tmp_path / "scratch").iterdir())


def test_an_empty_scratch_folder_is_refused_and_not_the_one_that_one_is_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--scratch", ""])
    assert caught.value.code == 2
    assert "--scratch: it is empty, as a variable is that the shell does not have" in capsys.readouterr().err
