"""A worker that is not well says so, and does not do to the next video what it did to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clips import make_clip

from birefnet_batch import Request, Settings
from birefnet_batch.errors import (
    DecoderCrashError,
    EngineError,
    FetchError,
    InputError,
    OutputLostError,
    WeightsError,
    WorkerLostError,
)
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.folder_parts import OutputsParts
from birefnet_batch.executors.ledger import Ledger
from birefnet_batch.executors.messages import Call, Failed, GivenBack, Lost
from birefnet_batch.executors.prepare import Plan
from birefnet_batch.executors.ray_worker import RayWorker
from birefnet_batch.executors.retries import attempt_record
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.jobs import Job, marker
from birefnet_batch.segment_task import SegmentRecord
from birefnet_batch.storage import Output
from birefnet_batch.versions import library_versions

Failing = Callable[[Exception | None], Any]


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    """A worker's answer when a step fails in a given way, or does not; always the same worker."""
    job = Job.from_request(Request.from_dict({"video_url": str(make_clip(tmp_path / "clip.mp4", frames=3))}))
    with Output(str(tmp_path / "out"), "run") as output:
        worker: Any = RayWorker("worker-1", RunContext("run", Settings(output=str(tmp_path / "out")), output, {}))
        worker._workspace = SimpleNamespace(leave_quietly=lambda job: None)
        worker._metrics = SimpleNamespace(frames=lambda model, count: None)
        worker._engines = SimpleNamespace(held=(), model=lambda name: SimpleNamespace(short_name=name))

        def answer(error: Exception | None) -> Any:
            def step(*_: Any) -> JobOutcome:
                if error is not None:
                    raise error
                return JobOutcome(job, "succeeded")

            worker._step = step
            return worker.work(Call("begin", job))

        yield answer


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), OSError("could not find/load shared object file"), MemoryError()]
)
def test_what_it_ran_out_of_is_a_loss_to_be_made_good_elsewhere_and_it_touches_no_other_video(
    failing: Failing, error: Exception
) -> None:
    answer = failing(error)
    assert isinstance(answer.value, Lost)
    assert isinstance(answer.value.error, WorkerLostError)
    assert "worker-1" in str(answer.value.error)
    assert answer.spent
    assert isinstance(failing(None).value, GivenBack)


def test_two_losses_in_a_row_may_be_its_own_fault(failing: Failing) -> None:
    crash = DecoderCrashError("its process was killed")
    answers = [failing(error) for error in (crash, None, crash, crash)]
    assert [answer.spent for answer in answers] == [False, False, False, True]


@pytest.mark.logs_errors
def test_after_what_nobody_foresaw_it_is_replaced_and_the_video_has_failed_there(failing: Failing) -> None:
    answer = failing(ValueError("a defect"))
    assert answer.value.record.error.type == "ValueError"
    assert "a defect" in answer.value.record.error.message
    assert answer.spent


@pytest.mark.parametrize(
    "error",
    [
        WeightsError("no weights"),
        EngineError("no engine"),
        FetchError("https://h/a.mp4 cannot be fetched: no route to host"),
        OSError(28, "No space left"),
    ],
)
def test_whether_what_a_machine_may_lack_is_the_videos_fault_is_for_the_driver_to_say(
    failing: Failing, error: Exception, tmp_path: Path
) -> None:
    answer = failing(error)
    assert isinstance(answer.value, Failed)
    assert not answer.value.unseen
    assert answer.value.record.status == "failed"
    assert answer.value.record.machine, "the worker's"
    assert not answer.spent
    assert not list((tmp_path / "out").glob("jobs/*")), "nothing is recorded that another machine may disprove"


def test_a_users_mistake_costs_no_worker(failing: Failing) -> None:
    answer = failing(InputError("clip.mp4 is no video"))
    assert answer.value.status == "failed"
    assert not answer.spent
    assert failing(None).value.status == "succeeded"


def test_a_failure_that_nobody_can_record_is_for_the_driver_to_judge(failing: Failing, tmp_path: Path) -> None:
    (tmp_path / "out" / "jobs").write_text("in the way")
    value = failing(InputError("no video")).value
    assert isinstance(value, Failed)
    assert isinstance(value.error, OutputLostError)


def test_a_video_that_is_not_on_its_machine_is_said_to_be_unseen(failing: Failing, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").unlink()
    assert failing(InputError("clip.mp4 does not exist")).value.unseen


def test_records_name_the_libraries_of_the_workers_machine_and_not_of_the_drivers(tmp_path: Path) -> None:
    job = Job.from_request(Request.from_dict({"video_url": str(make_clip(tmp_path / "clip.mp4", frames=3))}))
    with Output(str(tmp_path / "out"), "run") as output:
        drivers = {"torch": "0.0.1", "driver-only": "1"}
        worker = RayWorker("worker-1", RunContext("run", Settings(output=str(tmp_path / "out")), output, drivers))
        assert Ledger.opened(worker._context, job).record.versions == library_versions()


def test_frames_are_counted_while_they_are_made_and_those_of_a_segment_that_is_done_again_once(tmp_path: Path) -> None:
    job = Job.from_request(Request.from_dict({"video_url": str(make_clip(tmp_path / "clip.mp4", frames=3))}))
    counted: list[tuple[str, int]] = []
    with Output(str(tmp_path / "out"), "run") as output:
        worker: Any = RayWorker("worker-1", RunContext("run", Settings(output=str(tmp_path / "out")), output, {}))
        worker._metrics = SimpleNamespace(frames=lambda model, count: counted.append((model, count)))
        worker._engines = SimpleNamespace(held=(), model=lambda name: SimpleNamespace(short_name="light"))
        sums: list[int] = []

        def step(*_: Any) -> JobOutcome:
            for count in (4, 4, -8, 4, 4, 4):
                worker._board.frames(count)
                sums.append(sum(count for _, count in counted))
            return JobOutcome(job, "succeeded")

        worker._step = step
        for _ in range(2):
            assert worker.work(Call("begin", job)).frames == 12
    assert sums == [4, 8, 8, 8, 8, 12, 16, 20, 20, 20, 20, 24]
    assert {model for model, _ in counted} == {"light"}


@pytest.mark.parametrize("run_id", ["run", "earlier"])
def test_a_join_that_was_lost_after_it_had_published_its_video_is_not_done_again(tmp_path: Path, run_id: str) -> None:
    job = Job.from_request(Request.from_dict({"video_url": str(make_clip(tmp_path / "clip.mp4", frames=3))}))
    with Output(str(tmp_path / "out"), "run") as output:
        context = RunContext("run", Settings(output=str(tmp_path / "out")), output, {})
        record = replace(Ledger.opened(context, job).record, key="key")
        written = replace(record, run_id=run_id, source=replace(record.source, frames=6))
        for name in (job.media_name(mask=False), "result.json", marker("key")):
            output.write(job.file(name), b"{}")
        output.write(job.file("job.json"), written.to_json())
        dropped: list[Job] = []
        worker: Any = RayWorker("worker-1", context)
        worker._parts = OutputsParts(tmp_path)
        worker._workspace = SimpleNamespace(drop=dropped.append, parts=lambda job: tmp_path, path=lambda *_: 1 / 0)
        history = (attempt_record("worker-0", WorkerLostError("it was killed"), step="join"),)
        made = [SegmentDone(SegmentRecord(index, 3, 3, {}, {}), {}, None) for index in (0, 1)]
        done = (made[0], replace(made[1], run_id="before"))
        whole: Any = SimpleNamespace(kinds=("video",))
        call = Call("join", job, history, Plan(job, None, record, whole, ()), done=done)  # type: ignore[arg-type]
        if run_id == "run":
            outcome = worker._step(call, None, [])
            assert (outcome.status, outcome.frames) == ("succeeded", 3)
            assert dropped == [job]
        else:
            with pytest.raises(ZeroDivisionError):
                worker._step(call, None, [])
