"""A machine that fails whatever it is given takes no video with it; a video that fails everywhere takes no machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from birefnet_batch import Request, Settings
from birefnet_batch.errors import ConfigError, FetchError, NoWorkerError, WeightsError, WorkerLostError
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.coordinator import Coordinator
from birefnet_batch.executors.doubts import PROBES
from birefnet_batch.executors.ledger import Ledger, failed
from birefnet_batch.executors.messages import Answer, Call, Failed, Lost
from birefnet_batch.jobs import Job
from birefnet_batch.settings import MediaSettings
from birefnet_batch.storage import Output

LIGHT, HEAVY = "General Use (Light)", "General Use (Heavy)"
PATIENCE_S = 30.0


@dataclass
class Machines:
    """A cluster on a clock of its own, on which `fails` says why a machine cannot do a video, if it cannot."""

    coordinator: Coordinator
    folder: Path
    context: RunContext
    now: float = 0.0
    fails: Callable[[str, Job], Exception | None] = lambda node, job: None
    tried: list[tuple[str, str]] = field(default_factory=list)
    """(node, stem) of each attempt."""
    at: dict[float, Callable[[], None]] = field(default_factory=dict)
    """What happens at a time, after all were offered work."""

    def videos(self, count: int, model: str = LIGHT, name: str = "v") -> None:
        """Let videos wait, each longer than the one before."""
        jobs = []
        for number in range(count):
            file = self.folder / f"{name}{number}.mp4"
            with file.open("wb") as empty:
                empty.truncate(1_000_000 * (number + 1))
            jobs.append(Job.from_request(Request.from_dict({"video_url": str(file), "model": model})))
        self.coordinator.add(jobs)

    def join(self, node: str, workers: int = 2) -> None:
        """A machine is there."""
        for number in range(workers):
            self.coordinator.joined(f"{node}{number}", node, f"host-{node}")

    def run(self) -> dict[str, str]:
        """Work until all has an outcome: stem -> status."""
        outcomes: list[JobOutcome] = []
        while self.coordinator.unfinished:
            assert self.now < 1000, "it goes on for ever"
            begun = []
            for name in list(self.coordinator.scheduler.workers):
                taken = self.coordinator.take(name)
                if taken is not None:
                    begun.append((name, *taken))
            self.at.pop(self.now, lambda: None)()
            outcomes += self.coordinator.conclude()
            for name, unit, call in begun:
                outcome = self.coordinator.answered(name, unit, self._answer(name[:-1], call))
                outcomes += [outcome] if outcome is not None else []
            self.now += 1.0
        return {outcome.job.stem: outcome.status for outcome in outcomes}

    def _answer(self, node: str, call: Call) -> Answer:
        self.tried.append((node, call.job.stem))
        error = self.fails(node, call.job)
        record = Ledger.opened(self.context, call.job, call.history).record
        if error is None:
            return Answer(JobOutcome(call.job, "succeeded"), frames=10, seconds=1.0)
        return Answer(Lost(record, error) if isinstance(error, WorkerLostError) else Failed(*failed(record, error)))

    @property
    def records(self) -> list[str]:
        """Stems of the videos that have a record."""
        return sorted(path.parent.name.partition("-")[0] for path in self.folder.glob("out/jobs/*/job.json"))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    settings = replace(Settings(), output=str(tmp_path / "out"))
    with Output(str(tmp_path / "out"), "run") as output:
        context = RunContext("run", settings, output, {})
        made: Machines
        coordinator = Coordinator(context, lambda: made.now, lambda job: None, patience_s=PATIENCE_S)
        made = Machines(coordinator, tmp_path, context)
        yield made


def bad(*nodes: str, error: Exception | None = None) -> Callable[[str, Job], Exception | None]:
    return lambda node, job: (error or WeightsError("the weights cannot be read")) if node in nodes else None


def test_a_machine_that_can_do_nothing_ends_the_run_and_what_it_was_not_given_has_not_failed(
    machines: Machines,
) -> None:
    machines.fails = bad("a")
    machines.join("a")
    machines.videos(40)
    with pytest.raises(NoWorkerError) as caught:
        machines.run()
    assert "left, 34 videos: on host-a (a) 6 different videos failed" in str(caught.value)
    assert "the weights cannot be read" in str(caught.value)
    assert len(machines.tried) == 2 + PROBES + 1
    assert machines.records == sorted(stem for _, stem in machines.tried)
    assert machines.now >= PATIENCE_S, "another one may have come"


@pytest.mark.parametrize("error", [WeightsError("the weights cannot be read"), WorkerLostError("it was killed")])
def test_a_machine_that_can_do_nothing_and_is_ready_first_costs_no_video(machines: Machines, error: Exception) -> None:
    machines.fails = bad("a", error=error)
    machines.join("a")
    machines.at[20.0] = lambda: machines.join("b")
    machines.videos(40)
    assert set(machines.run().values()) == {"succeeded"}
    assert Counter(node for node, _ in machines.tried)["b"] == 40
    assert not machines.records


def test_machines_that_lack_different_things_do_what_they_can(machines: Machines) -> None:
    lacks = {"a": LIGHT, "b": HEAVY}
    machines.fails = lambda node, job: WeightsError("no weights") if lacks[node] == job.request.model else None
    machines.join("a")
    machines.join("b")
    machines.videos(20, LIGHT, "light")
    machines.videos(20, HEAVY, "heavy")
    statuses = machines.run()
    assert len(statuses) == 40
    assert set(statuses.values()) == {"succeeded"}
    assert len(machines.tried) < 40 + 2 * (2 + PROBES + 1)


def test_what_the_only_machine_lacks_for_some_videos_leaves_those_undone_when_the_others_are_done(
    machines: Machines,
) -> None:
    machines.fails = lambda node, job: WeightsError("no weights") if job.request.model == HEAVY else None
    machines.join("a")
    machines.videos(20, HEAVY, "heavy")
    machines.videos(20, LIGHT, "light")
    with pytest.raises(NoWorkerError, match="left, 14 videos"):
        machines.run()
    assert sum(stem.startswith("light") for _, stem in machines.tried) == 20
    assert len(machines.records) == 2 + PROBES + 1


@pytest.mark.parametrize(
    ("hopeless", "count", "workers"), [(range(30, 40), 40, 4), (range(10), 12, 1)], ids=["longest", "most"]
)
def test_videos_that_no_machine_can_do_fail_and_stop_no_other(
    machines: Machines, hopeless: range, count: int, workers: int
) -> None:
    stems = {f"v{number}" for number in hopeless}
    machines.fails = lambda node, job: WorkerLostError("out of memory") if job.stem in stems else None
    machines.join("a", workers=workers)
    machines.videos(count)
    statuses = machines.run()
    assert {stem for stem, status in statuses.items() if status == "failed"} == stems
    assert len(statuses) == count
    assert machines.records == sorted(stems)
    assert machines.now < PATIENCE_S, "a machine that does others leaves no doubt"


def test_few_videos_that_fail_on_the_only_machine_have_failed(
    machines: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    machines.fails = bad("a")
    machines.join("a")
    machines.videos(2)
    assert machines.run() == {"v0": "failed", "v1": "failed"}
    assert "v0-" in caplog.text, "held back at first, and that is said with the reason"
    assert "the weights cannot be read; it is held back" in caplog.text
    assert machines.records == ["v0", "v1"]


def test_a_machine_whose_disk_fills_up_in_the_middle_takes_few_videos_with_it(machines: Machines) -> None:
    machines.fails = lambda node, job: OSError(28, "No space left on device") if machines.now >= 5 else None
    machines.join("a", workers=1)
    machines.videos(40)
    with pytest.raises(NoWorkerError, match="no space left on device"):
        machines.run()
    assert len(machines.records) == 1 + PROBES + 1


def test_on_the_only_machine_that_there_ever_is_every_failure_is_the_videos(
    machines: Machines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Coordinator(machines.context, lambda: machines.now, lambda job: None, patience_s=0.0)
    machines = Machines(alone, tmp_path, machines.context, fails=bad("a"))
    machines.join("a")
    machines.videos(20)
    assert not list(alone.conclude())
    assert Counter(machines.run().values()) == {"failed": 20}
    assert len(machines.tried) == len(machines.records) == 20
    assert not caplog.text, "nothing waits for another machine"


def test_settings_that_do_not_go_with_a_videos_type_are_its_own_failure(machines: Machines, tmp_path: Path) -> None:
    settings = replace(machines.context.settings, media=MediaSettings(background="none"))
    context = replace(machines.context, settings=settings)
    strict = Coordinator(context, lambda: machines.now, lambda job: None, patience_s=PATIENCE_S)
    wrong = ConfigError("media.background=none needs an alpha channel")
    machines = Machines(strict, tmp_path, context, fails=bad("a", "b", error=wrong))
    machines.join("a")
    machines.join("b")
    machines.videos(20)
    assert Counter(machines.run().values()) == {"failed": 20}
    assert len(machines.tried) == 20, "a user's mistake is not tried again"


def test_workers_beside_those_that_may_do_nothing_are_asked_for(machines: Machines) -> None:
    machines.fails = bad("a")
    machines.join("a")
    machines.videos(40)
    seen: list[dict[str, int]] = []
    machines.at[1.0] = lambda: seen.append(dict(machines.coordinator.judge.idle_nodes))
    machines.at[20.0] = lambda: seen.append(dict(machines.coordinator.judge.idle_nodes))
    with pytest.raises(NoWorkerError):
        machines.run()
    assert seen == [{}, {"a": 2}], "while there is something that they may do, and when there is nothing"


@pytest.mark.parametrize("nodes", ["a", "abcd"])
@pytest.mark.parametrize("dead", [range(16, 26), range(8, 18)], ids=["first", "in the middle"])
def test_a_block_of_urls_that_nobody_reaches_costs_no_other_video_and_no_machine(
    machines: Machines, dead: range, nodes: str
) -> None:
    stems = {f"v{number}" for number in dead}
    machines.fails = lambda node, job: FetchError("403 Forbidden") if job.stem in stems else None
    for node in nodes:
        machines.join(node)
    machines.videos(26)
    statuses = machines.run()
    assert {stem for stem, status in statuses.items() if status == "failed"} == stems
    assert len(statuses) == 26
    assert machines.records == sorted(stems)
    assert machines.now < PATIENCE_S
    assert not machines.coordinator.scheduler.doubts


def test_a_machine_that_reaches_no_url_costs_no_video(machines: Machines) -> None:
    machines.fails = lambda node, job: FetchError("no route to host") if node in "abcd" else None
    for node in "abcde":
        machines.join(node)
    machines.videos(40)
    assert set(machines.run().values()) == {"succeeded"}
    assert not machines.records


def test_a_url_that_three_working_machines_do_not_reach_is_tried_on_no_more(machines: Machines) -> None:
    machines.fails = lambda node, job: FetchError("timed out") if job.stem == "v0" else None
    for node in "abcdefgh":
        machines.join(node)
    machines.videos(40)
    assert Counter(machines.run().values()) == {"succeeded": 39, "failed": 1}
    assert [stem for _, stem in machines.tried].count("v0") == 3
