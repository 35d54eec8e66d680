"""A run's state from its output, and the manifest as a table."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, parquet

from birefnet_batch import manifest_export, status_command
from birefnet_batch.errors import ConfigError
from birefnet_batch.results import JobRecord, SourceRecord
from birefnet_batch.run_record import close_dead_runs
from birefnet_batch.status import read_status
from birefnet_batch.status_command import main
from birefnet_batch.storage import Output
from birefnet_batch.storage.lease import RENEW_S, Lease, is_held_by
from birefnet_batch.storage.lease_holder import Holder
from birefnet_batch.storage.local_store import LocalStore

RUN = "20260101T000000Z-abc"


def at(seconds: float) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def line(number: int, status: str = "succeeded", **facts: Any) -> dict[str, Any]:
    return {
        "job_id": f"clip-{number}",
        "input": f"file:///clip-{number}.mp4",
        "status": status,
        "result": None,
        "error": "it is broken" if status == "failed" else None,
        "frames": 100,
        "seconds": float(number),
        "finished": at(10 * number),
        **facts,
    }


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A run of five videos, of which three have ended."""
    made = LocalStore(tmp_path)
    record = {"status": "running", "started": at(0), "finished": None, "counts": {"videos": 5, "invalid_entries": 1}}
    made.put(f"runs/{RUN}/run.json", json.dumps(record).encode())
    lines = [line(1), line(2), line(3, "failed", frames=0)]
    text = "".join(json.dumps(entry) + "\n" for entry in lines) + '{"job_id": "clip-4", "inp'
    made.put(f"runs/{RUN}/manifest.jsonl", text.encode())
    return made


def test_a_run_that_was_killed_is_read_to_its_last_sign_of_life(store: LocalStore) -> None:
    status = read_status(store)
    assert status.state == "died"
    assert status.counts == {
        "videos": 5,
        "succeeded": 2,
        "failed": 1,
        "skipped": 0,
        "remaining": 2,
        "invalid_entries": 1,
    }
    assert (status.frames, status.elapsed_s, status.frames_per_s, status.videos_per_min) == (200, 30.0, 6.67, 6.0)
    assert status.failures == [{"input": "file:///clip-3.mp4", "error": "it is broken"}]
    assert [video["input"] for video in status.slowest] == [f"file:///clip-{n}.mp4" for n in (3, 2, 1)]


def test_a_run_that_was_killed_in_its_first_video_died_between_its_last_sign_of_life_and_the_next_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LocalStore(tmp_path)
    record = {"status": "running", "started": at(0), "finished": None, "counts": {"videos": 1}}
    store.put(f"runs/{RUN}/run.json", json.dumps(record).encode())
    store.put(f"runs/{RUN}/running", b"")
    assert main([str(tmp_path)]) == 0
    assert f"died 0 s or more after its start at {at(0)}" in capsys.readouterr().out
    holder = Holder(RUN, "ada", "far", 12, "elsewhere", "1", at(-1), renewed=at(59))
    store.put(".lease/00000001.json", json.dumps(vars(holder)).encode())
    for _ in range(2):
        status = read_status(store, RUN)
        assert (status.state, status.elapsed_s, status.dead_after_s) == ("died", 59.0, 59.0 + RENEW_S)
        assert main([str(tmp_path), "--run", RUN]) == 0
        assert f"died 59 to 79 s after its start at {at(0)}" in capsys.readouterr().out
        # The next run removes the lease, and keeps what it said.
        with Output(str(tmp_path), "next") as output:
            close_dead_runs(output)
        assert not list(tmp_path.glob(".lease/*"))


def test_videos_that_failed_at_once_are_none_of_the_slowest_and_those_that_failed_late_are(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(1), *(line(number, "failed", frames=0, seconds=took) for number, took in ((2, 0.004), (3, 7200.0)))]
    store.put(f"runs/{RUN}/manifest.jsonl", "".join(json.dumps(entry) + "\n" for entry in lines).encode())
    assert [video["input"] for video in read_status(store).slowest] == ["file:///clip-3.mp4", "file:///clip-1.mp4"]
    assert main([str(tmp_path)]) == 0
    assert " 0.0 s" not in capsys.readouterr().out


def test_a_run_that_failed_itself_says_why(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"status": "failed", "error": "a disk [sda] is full", "started": at(0), "finished": at(1), "counts": {}}
    store.put(f"runs/{RUN}/run.json", json.dumps(record).encode())
    assert main([str(tmp_path)]) == 0
    assert "error: a disk [sda] is full" in capsys.readouterr().out


def test_a_run_that_goes_on_names_its_holder_and_the_time_left(store: LocalStore, tmp_path: Path) -> None:
    with Output(str(tmp_path), RUN):
        status = read_status(store)
    assert status.state == "running"
    assert status.holder is not None
    assert RUN in status.holder
    assert status.seconds_left is not None


def test_a_run_that_ends_while_its_lines_are_read_has_not_died(tmp_path: Path) -> None:
    class Ending(LocalStore):
        def get(self, relative: str) -> bytes | None:
            found = super().get(relative)
            if relative.endswith("manifest.jsonl") and is_held_by(LocalStore(tmp_path), RUN):
                self.put(f"runs/{RUN}/manifest.jsonl", f"{json.dumps(line(1))}\n{json.dumps(line(2))}\n".encode())
                self.put(
                    f"runs/{RUN}/run.json", json.dumps({**record, "status": "finished", "finished": at(20)}).encode()
                )
                lease.release()
            return found

    store = Ending(tmp_path)
    lease = Lease(LocalStore(tmp_path), RUN)
    lease.acquire()
    record = {"status": "running", "started": at(0), "finished": None, "counts": {"videos": 2}}
    store.put(f"runs/{RUN}/run.json", json.dumps(record).encode())
    store.put(f"runs/{RUN}/manifest.jsonl", f"{json.dumps(line(1))}\n".encode())
    status = read_status(store)
    assert (status.state, status.finished, status.counts["succeeded"]) == ("finished", at(20), 2)


def test_an_output_whose_first_run_has_just_taken_it_says_so(tmp_path: Path) -> None:
    with (
        Output(str(tmp_path / "new"), "first"),
        pytest.raises(ConfigError, match="has no runs yet: run first of .* is about to begin"),
    ):
        read_status(LocalStore(tmp_path / "new"))


def test_a_run_that_has_just_taken_the_output_is_not_told_as_the_one_before(store: LocalStore, tmp_path: Path) -> None:
    with (
        Output(str(tmp_path), "second"),
        pytest.raises(ConfigError, match=f"run second of .* is about to begin in .* --run {RUN} for the one before"),
    ):
        read_status(store)
    with Output(str(tmp_path), "second"):
        assert read_status(store, RUN).state == "died"
    assert read_status(store).run_id == RUN


def test_the_program_prints_a_table_or_json_and_says_what_is_wrong(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "died" in shown
    assert "file:///clip-3.mp4: it is broken" in shown
    assert "..." not in shown
    assert "…" not in shown
    assert main([str(tmp_path), "--json", "--slowest", "1", "storage.timeout_s=5"]) == 0
    assert len(json.loads(capsys.readouterr().out)["slowest"]) == 1
    (tmp_path / "empty").mkdir()
    for name, reason in (("empty", "give the output of a run"), ("none", "there is no such folder")):
        assert main([str(tmp_path / name)]) == 2
        assert f"{name} has no runs: {reason}" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([""])
    assert "it is empty, as a variable is that the shell does not have" in capsys.readouterr().err
    assert main([str(tmp_path), "--run", "other"]) == 2
    assert RUN in capsys.readouterr().err
    assert main([str(tmp_path), "storage.nothing=1"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_the_manifest_is_a_typed_table_with_what_the_records_add(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SourceRecord("file:///clip-1.mp4", size=123, width=64, frames=7, duration=0.28)
    record = JobRecord(
        job_id="clip-1",
        status="succeeded",
        request={"model": "Demo", "video_output_type": "X264 (.mp4)"},
        source=source,
        engine={"family": "torch", "precision": "fp32", "threads": 2},
        timings={"total": 1.5},
    )
    store.put("jobs/clip-1/job.json", record.to_json())
    store.put("manifest.jsonl", b"".join(json.dumps(line(n)).encode() + b"\n" for n in (1, 2)))
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.parquet")]) == 0
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.csv")]) == 0
    first, second = parquet.read_table(tmp_path / "m.parquet").to_pylist()
    assert (first["model"], first["frames"], first["seconds"], first["engine"]) == ("Demo", 7, 1.5, "torch")
    assert (second["input"], second["model"]) == ("file:///clip-2.mp4", None)
    assert main([str(tmp_path), "--manifest", str(tmp_path / "M.CSV")]) == 0
    assert csv.read_csv(tmp_path / "m.csv").num_rows == csv.read_csv(tmp_path / "M.CSV").num_rows == 2
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.xlsx")]) == 2
    assert "must end in .parquet or .csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required: output\n"),
        (("out", "--slowest", "-1"), "--slowest must be at least 0"),
        (("out", "--run", "", "--manifest", "m.csv"), "writes the videos of all runs; leave --run and --json out"),
    ],
)
def test_wrong_use_names_what_is_wrong_alone(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_an_interrupted_listing_is_status_130_and_no_trace(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_command, "read_status", interrupted)
    assert main([str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("words", ["--json", ""])
def test_a_reader_that_has_seen_enough_gets_no_trace(store: LocalStore, words: str) -> None:
    lines = "".join(json.dumps(line(number, "failed", error="x" * 1000)) + "\n" for number in range(300))
    store.put(f"runs/{RUN}/manifest.jsonl", lines.encode())
    program = f"{sys.executable} -m birefnet_batch.status_command {store.root} {words}"
    done = subprocess.run(["bash", "-c", f"{program} | head -1"], capture_output=True, text=True)
    assert done.stdout
    assert done.stderr == ""


def test_the_table_has_the_videos_of_a_run_that_goes_on_or_was_killed(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put("manifest.jsonl", b"".join(json.dumps(line(n)).encode() + b"\n" for n in (1, 7)))
    store.put(f"runs/{RUN}/running", b"")
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.parquet")]) == 0
    assert "4 videos" in capsys.readouterr().out
    table = {row["job_id"]: row["status"] for row in parquet.read_table(tmp_path / "m.parquet").to_pylist()}
    assert table == {"clip-1": "succeeded", "clip-7": "succeeded", "clip-2": "succeeded", "clip-3": "failed"}
    assert main([str(tmp_path / "none"), "--manifest", str(tmp_path / "n.csv")]) == 2
    assert not (tmp_path / "n.csv").exists()


def test_a_folder_that_no_run_has_written_to_is_refused_for_the_table_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for name, reason in (("empty", "give the output of a run"), ("none", "there is no such folder")):
        assert main([str(tmp_path / name), "--manifest", str(tmp_path / "m.csv")]) == 2
        assert f"{name} has no runs: {reason}" in capsys.readouterr().err
    assert not (tmp_path / "m.csv").exists()


def test_a_manifest_whose_runs_were_tidied_away_is_still_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LocalStore(tmp_path).put("manifest.jsonl", json.dumps(line(1)).encode() + b"\n")
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.csv")]) == 0
    assert "1 videos" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{oops"], "line 2 names no video"),
        (['{"job_id": "clip-4", "inp'], "line 2 names no video"),
        (["", "5", "[]", *["{}"] * 5], "7 lines (3, 4, 5, 6, 7, ...) name no video"),
        (['{"job_id": 5}'], "is damaged: "),
    ],
)
def test_a_table_that_would_lack_videos_of_a_damaged_manifest_is_not_written(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], said: str
) -> None:
    store.put("manifest.jsonl", "\n".join([json.dumps(line(1)), *lines, json.dumps(line(2)), ""]).encode())
    assert main([str(tmp_path), "--manifest", str(tmp_path / "m.csv")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "run the videos again to mend it" in shown
    assert not (tmp_path / "m.csv").exists()


def test_a_place_that_cannot_be_looked_at_is_one_error_for_the_table_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--manifest", str(tmp_path / "m.csv")]):
        assert main([str(tmp_path / ("x" * 300)), *words]) == 2
        assert "cannot be read: file name too long" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["file/table.csv", f"{'x' * 300}.csv"])
def test_a_table_that_cannot_be_written_is_one_error(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path), "--manifest", str(tmp_path / name)]) == 2
    assert f"{name} cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        *({"counts": None}, {"counts": [1]}, {"counts": {"videos": None}}, {"counts": {"videos": "many"}}),
        *({"started": "2026-01-01T00:00:00"}, {"started": 5}, {"finished": 5}, {"finished": "x"}, {"status": [1]}),
        {"lease_renewed": {}},
    ],
)
def test_a_run_record_with_values_of_other_types_is_read_as_far_as_it_can_be(
    store: LocalStore, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    record = json.loads(store.get(f"runs/{RUN}/run.json") or b"")
    store.put(f"runs/{RUN}/run.json", json.dumps({**record, "status": "finished", **wrong}).encode())
    status = read_status(store)
    assert (status.counts["succeeded"], status.counts["failed"]) == (2, 1)
    assert main([str(tmp_path)]) == main([str(tmp_path), "--json"]) == 0


@pytest.mark.parametrize(
    "wrong", [{"frames": None}, {"frames": "x"}, {"seconds": "q"}, {"finished": None}, {"input": 5}, {"error": 3}]
)
def test_a_line_with_values_of_other_types_costs_no_other(
    store: LocalStore, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    lines = [line(1), line(2, "failed", **wrong), line(3)]
    store.put(f"runs/{RUN}/manifest.jsonl", "".join(json.dumps(entry) + "\n" for entry in lines).encode())
    assert read_status(store).counts["succeeded"] == 2
    assert main([str(tmp_path)]) == main([str(tmp_path), "--json"]) == 0


def test_the_records_of_a_table_are_read_side_by_side_and_its_rows_are_in_order(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = threading.Barrier(4, timeout=60)

    def read_record(store: LocalStore, job_id: str) -> None:
        four.wait()

    monkeypatch.setattr(manifest_export, "read_record", read_record)
    store.put("manifest.jsonl", b"".join(json.dumps(line(n)).encode() + b"\n" for n in range(8)))
    assert [row["job_id"] for row in manifest_export.rows(store)] == [f"clip-{n}" for n in range(8)]


def test_without_the_library_the_pip_command_is_named(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'birefnet-batch\[parquet\]'"):
        manifest_export.export_manifest(store, Path("x.csv"))
