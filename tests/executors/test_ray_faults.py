"""Workers, nodes and drivers die, really: every other video completes exactly once, and nothing is left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import faults
import pytest
from clips import make_clip, read_frames
from ray_runs import TESTS, OnRay

from birefnet_batch.settings import MediaSettings

SEGMENTS = MediaSettings(segment_frames=8)


def job_of(output: Path, clip: Path) -> dict[str, Any]:
    (folder,) = output.glob(f"jobs/{clip.stem}-*")
    record: dict[str, Any] = json.loads((folder / "job.json").read_text())
    return record


def until(true: Callable[[], bool], what: str, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it took too long until {what}"
        time.sleep(0.1)


def test_a_lost_worker_costs_a_retry_and_a_video_that_kills_them_is_quarantined(on_ray: OnRay, tmp_path: Path) -> None:
    # Each death costs the start of a worker, which takes longer than all the rest.
    names = ("kill_once", "segfault_always", "eat_once", "starve_once", "plain")
    lengths = {name: 20 if name == "kill_once" else 6 for name in names}
    clips = {name: make_clip(tmp_path / f"{name}.mp4", frames=lengths[name], keyframes=8) for name in names}
    output = tmp_path / "out"
    summary = on_ray.run(output, *clips.values(), media=SEGMENTS)
    assert (summary.succeeded, summary.failed) == (4, 1)
    assert len(on_ray.outcomes) == len({outcome.job.job_id for outcome in on_ray.outcomes}) == 5
    for name in ("kill_once", "eat_once", "starve_once", "plain"):
        record = job_of(output, clips[name])
        assert record["status"] == "succeeded"
        assert len(record["history"]) == (name != "plain")
        assert len(read_frames(output / record["outputs"]["video"]).times) == lengths[name]
    begun = Counter(segment for _, segment in on_ray.worked(clips["kill_once"]))
    assert sorted(begun.values()) == [1, 1, 2], "a segment that was done is not done again"
    assert "worker process has died" in job_of(output, clips["kill_once"])["history"][0]["message"]
    record = job_of(output, clips["segfault_always"])
    assert record["error"]["type"] == "WorkerLostError"
    assert "given up after 2 lost attempts" in record["error"]["message"]
    assert len({attempt["worker"] for attempt in record["history"]}) == len(record["history"]) == 2
    for attempt in record["history"]:
        assert (attempt["step"], attempt["segment"]) == ("begin", None)
        assert re.fullmatch(r"\S+ \([0-9a-f]{12}\)", attempt["node"])
        assert "worker process has died" in attempt["message"], "what Ray says of it"
    assert "out of memory" in job_of(output, clips["eat_once"])["history"][0]["message"]
    assert not (output / ".scratch").exists()


def test_nodes_that_join_are_used_and_nodes_that_leave_are_survived(on_ray: OnRay, tmp_path: Path) -> None:
    # More than the first workers are given ahead.
    clips = [make_clip(tmp_path / f"wait_{name}.mp4", frames=8) for name in "abcde"]
    output, made = tmp_path / "out", []
    thread = threading.Thread(target=lambda: made.append(on_ray.run(output, *clips, workers=None)))
    thread.start()
    try:
        started = lambda: [clip for clip in clips if (on_ray.faults / f"{clip.stem}.log").exists()]  # noqa: E731
        until(lambda: len(started()) == 2, "both workers of the first node work")
        node = on_ray.cluster.add_node(num_cpus=1)
        until(lambda: len(started()) == 3, "a worker of the new node works")
        on_ray.cluster.remove_node(node, allow_graceful=False)
        until(lambda: any("retries" in line for line in on_ray.lines), "the loss is noticed")
    finally:
        (on_ray.faults / "go").touch()
        thread.join(120)
    assert made
    assert made[0].succeeded == 5
    histories = [job_of(output, clip)["history"] for clip in clips]
    assert sorted(map(len, histories)) == [0, 0, 0, 0, 1]


def test_a_machine_that_can_do_nothing_and_is_ready_before_the_others_costs_no_video(
    on_ray: OnRay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (on_ray.faults / "broken").touch()
    clips = [make_clip(tmp_path / f"{name}.mp4", frames=3) for name in "abcde"]
    output, made = tmp_path / "out", []
    # With one worker, which may do nothing any more, in whose stead another is started.
    thread = threading.Thread(target=lambda: made.append(on_ray.run(output, *clips, workers=1)))
    node = None
    with caplog.at_level(logging.WARNING):
        thread.start()
        try:
            until(lambda: "gets no more videos" in caplog.text, "it is found out")
            assert not list(output.glob("jobs/*/job.json")), "no video has failed by that"
            node = on_ray.cluster.add_node(num_cpus=1, resources={"whole": 1.0})
            thread.join(120)
        finally:
            if node is not None:
                on_ray.cluster.remove_node(node)
    assert made
    assert made[0].succeeded == 5
    lost = [attempt for clip in clips for attempt in job_of(output, clip)["history"]]
    assert len(lost) == 4, "one, and three to find out"
    assert {attempt["type"] for attempt in lost} == {"EngineError"}


class Program:
    """`birefnet-batch executor=ray` in a process of its own, which can be stopped and killed."""

    def __init__(self, folder: Path, clips: list[Path], faults_folder: Path, *words: str, temporary: Path) -> None:
        self.output = folder / "out"
        manifest = folder / "videos.jsonl"
        manifest.write_text("".join(json.dumps(str(clip)) + "\n" for clip in clips))
        environment = f"{{PYTHONPATH:'{TESTS}:{TESTS.parent}',{faults.FOLDER}:{faults_folder}}}"
        self._log = (folder / "log").open("a+")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "birefnet_batch", "executor=ray", f"manifest={manifest}"),
                *(f"output={self.output}", "request.model=demo", "request.operating_resolution=256x256"),
                *("engine.threads=1", "executor.workers=2", "media.segment_frames=8"),
                f"executor.runtime_env={{worker_process_setup_hook:faults.install,env_vars:{environment}}}",
                *words,
            ],
            stdout=self._log,
            stderr=self._log,
            cwd=TESTS.parent,
            env={**os.environ, "TMPDIR": str(temporary), "HOME": str(temporary)},
        )

    def end(self, seconds: float = 200) -> tuple[int, str]:
        """Wait for it; its status and what it said."""
        status = self.process.wait(seconds)
        self._log.seek(0)
        return status, self._log.read()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files with a short name: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="bb-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def processes_with(text: str) -> list[str]:
    """The command lines of living processes that name this."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in words:
                found.append(words)
    return found


def lives(process: str) -> bool:
    """Whether a process is there; one that ended and was not waited for has no command line."""
    with suppress(OSError):
        return bool(Path("/proc", process, "cmdline").read_bytes())
    return False


@pytest.mark.slow
def test_a_run_whose_driver_was_killed_is_completed_by_the_next_and_nothing_is_left(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    plain = make_clip(tmp_path / "plain.mp4", frames=20)
    # One of its segments waits for ever, and two do not.
    long = make_clip(tmp_path / "wait_once.mp4", frames=20, keyframes=8)
    clips = [plain, long]
    first = Program(tmp_path, clips, tmp_path, temporary=temporary)
    until(
        lambda: (
            len(list(first.output.glob(".scratch/*/parts/wait_once-*/segment-*.json"))) == 2
            and bool(list(first.output.glob("jobs/plain-*/complete-*")))
        ),
        "it works",
    )
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(10)
    until(lambda: not processes_with(str(temporary)), "Ray's processes have ended")
    # Ray gives its workers a command line that names no folder, and they outlive the others for a while.
    workers = {line.split()[0] for log in tmp_path.glob("*.log") for line in log.read_text().splitlines()}
    until(lambda: not any(lives(worker) for worker in workers), "the workers have ended")
    (tmp_path / "go").touch()
    status, said = Program(tmp_path, clips, tmp_path, temporary=temporary).end()
    assert status == 0, said
    assert "1 succeeded, 0 failed, 1 complete already" in said
    begun = Counter(line.split()[1] for line in (tmp_path / "wait_once.log").read_text().splitlines())
    assert sorted(begun.values()) == [1, 1, 2], "a segment that was done is not done again"
    assert job_of(first.output, long)["notes"][0].startswith("2 of the 3 segments are of run ")
    assert len(read_frames(first.output / job_of(first.output, long)["outputs"]["video"]).times) == 20
    assert not (first.output / ".scratch").exists()
    assert not list(temporary.iterdir()), "Ray's files, or a token in the home folder"
    assert not processes_with(str(temporary))
    assert not list(Path("/dev/shm").glob("*birefnet*"))


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_lets_segments_finish_or_takes_them_back(
    on_ray: OnRay, tmp_path: Path, temporary: Path
) -> None:
    clips = [make_clip(tmp_path / f"{name}.mp4", frames=frames) for name, frames in (("wait_a", 7), ("slow_b", 900))]
    words = (f"executor.address={on_ray.cluster.address}", "executor.grace_s=12", "media.segment_frames=null")
    program = Program(tmp_path, clips, tmp_path, *words, temporary=temporary)
    until(lambda: len(list(tmp_path.glob("*.log"))) == 2, "both videos are worked on")
    program.process.send_signal(signal.SIGTERM)
    until(lambda: "have 12 s to finish" in (tmp_path / "log").read_text(), "it drains")
    (tmp_path / "go").touch()
    status, said = program.end()
    assert status == 130, said
    (run_folder,) = (program.output / "runs").iterdir()
    assert json.loads((run_folder / "run.json").read_text())["status"] == "interrupted"
    assert [json.loads(line)["status"] for line in (program.output / "manifest.jsonl").read_text().splitlines()] == [
        "succeeded"
    ]
    assert not list(program.output.glob("jobs/slow_b-*"))
    assert not (program.output / ".scratch").exists()
    assert not list(temporary.iterdir())
