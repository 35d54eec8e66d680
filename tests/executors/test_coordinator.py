"""What answers and questions of workers come to, without any cluster."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import make_clip

from birefnet_batch import Request, Settings
from birefnet_batch.errors import (
    DecoderCrashError,
    ElsewhereError,
    FetchError,
    InputError,
    OutputError,
    OutputLostError,
)
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.coordinator import Coordinator
from birefnet_batch.executors.ledger import failed
from birefnet_batch.executors.messages import Answer, Failed, Lost, Status
from birefnet_batch.executors.units import EngineKey, Unit
from birefnet_batch.jobs import Job
from birefnet_batch.results import JobRecord, SourceRecord, utc_now
from birefnet_batch.storage import Output

LIGHT: EngineKey = ("light", 1024, 1024, "fp16")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job.from_request(Request.from_dict({"video_url": str(make_clip(tmp_path / "long.mp4", frames=3))}))


@pytest.fixture
def now() -> list[float]:
    """The time, to be set."""
    return [0.0]


@pytest.fixture
def coordinator(tmp_path: Path, job: Job, now: list[float]) -> Iterator[Coordinator]:
    """It has two workers on a machine, and one job, that was begun."""
    with Output(str(tmp_path / "out"), "run") as output:
        context = RunContext("run", Settings(output=str(tmp_path / "out")), output, {})
        made = Coordinator(context, lambda: now[0], drop_parts=lambda job: None, patience_s=30.0)
        made.joined("worker-1", "node-1-of-the-cluster", "machine")
        made.joined("worker-2", "node-2-of-the-cluster", "machine")
        made.add([job])
        made.scheduler.drop(lambda unit: True)
        yield made


def segment(job: Job, index: int, frames: float = 100) -> Unit:
    return Unit(job, "segment", LIGHT, frames, index=index)


def test_what_a_worker_says_of_a_segment_that_it_has_ended_does_not_count_for_its_next(
    coordinator: Coordinator, job: Job
) -> None:
    coordinator.scheduler.add([segment(job, 0), segment(job, 1)])
    taken = coordinator.scheduler.take("worker-1")
    assert taken is not None
    state = coordinator.scheduler.workers["worker-1"]
    coordinator.told("worker-1", Status(job.job_id, 90, step="segment", index=1 - taken.index, made=90, seconds=9.0))
    assert state.made == 0
    coordinator.told("worker-1", Status(job.job_id, 90, step="segment", index=taken.index, made=90, seconds=180.0))
    assert (state.made, state.until) == (90, 20.0)
    coordinator.told("worker-3", Status())


def test_lost_attempts_are_counted_by_segment_and_recorded_with_segment_node_and_cause(
    coordinator: Coordinator, job: Job, tmp_path: Path
) -> None:
    assert coordinator._context.settings.executor.max_retries == 1
    lost = []
    for number, (index, worker) in enumerate([(0, "worker-1"), (2, "worker-2"), (None, "worker-3")], start=1):
        if index is not None:
            coordinator.scheduler.drop(lambda unit: True)
            coordinator.scheduler.add([segment(job, index)])
        else:
            # What worker-2 lost goes to another.
            coordinator.joined(worker, "node-3-of-the-cluster", "other")
            # Something else was done there, so that its failures are believed.
            coordinator.scheduler.doubts.succeeded("node-3-of-the-cluster", LIGHT)
        assert coordinator.scheduler.take(worker) is not None
        lost.append(coordinator.lost(worker, f"{worker} was lost: death {number}"))
    outcome = lost[-1]
    assert lost[:-1] == [None, None]
    assert outcome is not None
    assert str(outcome.error).startswith(
        f"{job.display_uri} was given up after 2 lost attempts at its segment 2 (executor.max_retries=1; 1 at others "
        "of its steps), the last one: worker-3 was lost: death 3"
    )
    record = json.loads((tmp_path / "out" / job.file("job.json")).read_text())
    assert record["error"]["message"] == outcome.error
    assert record["attempts"] == len(record["history"]) == 3
    assert [(one["worker"], one["node"], one["step"], one["segment"]) for one in record["history"]] == [
        ("worker-1", "machine (node-1-of-th)", "segment", 0),
        ("worker-2", "machine (node-2-of-th)", "segment", 2),
        ("worker-3", "other (node-3-of-th)", "segment", 2),
    ]
    assert record["history"][1]["message"] == "worker-2 was lost: death 2"


def test_what_waited_behind_the_last_try_of_a_job_is_given_to_nobody(coordinator: Coordinator, job: Job) -> None:
    first, second = segment(job, 0), segment(job, 1)
    first.tries = 1
    coordinator.scheduler.add([first])
    assert coordinator.scheduler.take("worker-1") is first
    coordinator.scheduler.workers["worker-1"].running.append(second)
    coordinator.scheduler.doubts.succeeded("node-1-of-the-cluster", LIGHT)
    outcome = coordinator.lost("worker-1", "worker-1 was lost: death 2")
    assert outcome is not None
    assert outcome.status == "failed"
    coordinator.scheduler.add([second])
    assert coordinator.take("worker-2") is None
    assert (coordinator.scheduler.waiting, coordinator.scheduler.running) == (0, 0)


def test_a_video_of_one_piece_that_fails_after_a_loss_is_not_looked_for_in_all_that_waits(
    coordinator: Coordinator, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit(job, "begin", LIGHT, 10, tries=1)
    coordinator.scheduler.add([unit])
    assert coordinator.scheduler.take("worker-1") is unit
    coordinator.scheduler.doubts.succeeded("node-1-of-the-cluster", LIGHT)
    monkeypatch.setattr(coordinator.scheduler, "drop", lambda unwanted: pytest.fail("it has nothing there"))
    outcome = coordinator.lost("worker-1", "worker-1 was lost: death 2")
    assert outcome is not None
    assert outcome.status == "failed"


def test_the_reason_of_a_loss_is_logged_once_whether_anything_was_lost_with_the_worker_or_not(
    coordinator: Coordinator, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator.scheduler.add([segment(job, 0)])
    assert coordinator.scheduler.take("worker-1") is not None
    with caplog.at_level(logging.WARNING):
        coordinator.lost("worker-1", "worker-1 was lost: death 1")
        coordinator.lost("worker-2", "worker-2 was lost: death 2")
    assert [record.getMessage() for record in caplog.records] == [
        f"{job.job_id}: worker-1 was lost: death 1; trying again elsewhere",
        "worker-2 was lost: death 2",
    ]


@pytest.mark.parametrize("what", ["killed", "crashed", "failed"])
def test_what_breaks_while_the_run_is_being_stopped_has_not_failed(
    coordinator: Coordinator, job: Job, tmp_path: Path, what: str
) -> None:
    unit = segment(job, 0)
    unit.tries = 5
    scheduler = coordinator.scheduler
    scheduler.doubts.succeeded("node-1-of-the-cluster", LIGHT)
    scheduler.add([unit])
    assert scheduler.take("worker-1") is unit
    coordinator.stop()
    record = JobRecord(job.job_id, "failed", job.request.to_dict(), SourceRecord(job.display_uri), started=utc_now())
    if what == "killed":
        assert coordinator.lost("worker-1", "worker-1 was lost: the node is shut down") is None
    elif what == "crashed":
        crash = DecoderCrashError("its process was killed by signal SIGTERM")
        assert coordinator.answered("worker-1", unit, Answer(Lost(record, crash))) is None
    else:
        error = OutputError("the joining process was killed by signal SIGTERM")
        assert coordinator.answered("worker-1", unit, Answer(Failed(*failed(record, error)))) is None
    assert (coordinator.unfinished, scheduler.waiting) == (1, 1)
    assert not (tmp_path / "out" / job.file("job.json")).exists(), "the next run has nothing to take back"


def test_an_output_that_takes_no_files_of_jobs_any_more_ends_the_run_before_other_machines_try(
    coordinator: Coordinator, job: Job, tmp_path: Path
) -> None:
    coordinator.scheduler.add([segment(job, 0)])
    unit = coordinator.scheduler.take("worker-1")
    assert unit is not None
    record = JobRecord(job.job_id, "failed", job.request.to_dict(), SourceRecord(job.display_uri), started=utc_now())
    (tmp_path / "out" / "jobs").write_text("in the way")
    answer = Answer(Failed(*failed(record, OutputError("jobs/long/long.mp4 cannot be written"))))
    with pytest.raises(OutputLostError, match="Nothing can be written in .*jobs any more"):
        coordinator.answered("worker-1", unit, answer)


@pytest.fixture
def unseen(job: Job) -> Answer:
    record = JobRecord(job.job_id, "failed", job.request.to_dict(), SourceRecord(job.display_uri), started=utc_now())
    return Answer(Failed(*failed(record, InputError("it does not exist")), unseen=True))


def test_a_video_that_a_node_does_not_see_is_done_by_another(
    coordinator: Coordinator, job: Job, unseen: Answer, tmp_path: Path, now: list[float]
) -> None:
    scheduler = coordinator.scheduler
    unit = Unit(job, "begin", LIGHT, 10)
    # Others are done there: they lie elsewhere.
    scheduler.doubts.succeeded("node-1-of-the-cluster", LIGHT)
    scheduler.add([unit])
    assert scheduler.take("worker-1") is unit
    assert coordinator.answered("worker-1", unit, unseen) is None
    assert unit.tries == 0, "it is not the video's fault"
    assert scheduler.take("worker-1") is None
    assert scheduler.take("worker-2") is unit
    # Nobody else is left who might see it: then that is how it ends.
    assert coordinator.lost("worker-2", "its node has died") is None
    assert scheduler.take("worker-1") is None
    assert not list(coordinator.conclude()), "another one may come"
    now[0] = 30.0
    (outcome,) = coordinator.conclude()
    assert outcome.status == "failed"
    assert "but not on machine (node-1-of-th); mount its folder" in str(outcome.error)
    record = json.loads((tmp_path / "out" / job.file("job.json")).read_text())
    assert [attempt["worker"] for attempt in record["history"]] == ["worker-1", "worker-2"]


def test_a_video_that_the_driver_does_not_see_either_has_failed(
    coordinator: Coordinator, job: Job, unseen: Answer
) -> None:
    unit = Unit(job, "begin", LIGHT, 10)
    coordinator.scheduler.add([unit])
    Path(job.uri.removeprefix("file://")).unlink()
    coordinator.scheduler.take("worker-1")
    outcome = coordinator.answered("worker-1", unit, unseen)
    assert outcome is not None
    assert (outcome.status, outcome.error) == ("failed", "it does not exist")


@pytest.fixture
def elsewhere(job: Job) -> Answer:
    record = JobRecord(job.job_id, "failed", job.request.to_dict(), SourceRecord(job.display_uri), started=utc_now())
    return Answer(Failed(*failed(record, ElsewhereError("it is another checkpoint than where the video was begun"))))


def test_segments_that_a_node_cannot_make_as_their_video_was_begun_are_made_by_others_and_cost_it_nothing(
    coordinator: Coordinator, job: Job, elsewhere: Answer, tmp_path: Path
) -> None:
    scheduler = coordinator.scheduler
    units = [segment(job, index) for index in range(4)]
    # It makes its own videos with what it has.
    scheduler.doubts.succeeded("node-1-of-the-cluster", LIGHT)
    scheduler.add(units)
    unit = scheduler.take("worker-1")
    assert unit is not None
    assert coordinator.answered("worker-1", unit, elsewhere) is None
    assert scheduler.take("worker-1") is None, "the other segments would fail there too"
    assert not scheduler.doubts
    # Nobody else is left who began it: then that is how it ends, told once.
    assert coordinator.lost("worker-2", "its node has died") is None
    (outcome,) = coordinator.conclude()
    assert outcome.status == "failed"
    assert "another checkpoint" in str(outcome.error)
    record = json.loads((tmp_path / "out" / job.file("job.json")).read_text())
    assert [attempt["worker"] for attempt in record["history"]] == ["worker-1"]
    assert scheduler.waiting == 0


def test_of_what_no_machine_may_do_any_more_each_is_told_before_the_next_is_published(
    coordinator: Coordinator, tmp_path: Path, now: list[float]
) -> None:
    coordinator.lost("worker-2", "its node has died")
    jobs = [
        Job.from_request(Request.from_dict({"video_url": f"https://dead.example/{number}.mp4"})) for number in range(3)
    ]
    coordinator.add(jobs)
    for _ in jobs:
        taken = coordinator.take("worker-1")
        assert taken is not None
        unit = taken[0]
        record = JobRecord(unit.job.job_id, "failed", {}, SourceRecord(unit.job.display_uri), started=utc_now())
        answer = Answer(Failed(*failed(record, FetchError("404 Not Found"))))
        assert coordinator.answered("worker-1", unit, answer) is None
    assert not list(coordinator.conclude())
    now[0] = 30.0
    published = [len(list(tmp_path.glob("out/jobs/*/job.json"))) for _ in coordinator.conclude()]
    assert published == [1, 2, 3]
