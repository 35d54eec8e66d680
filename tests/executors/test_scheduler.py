"""Who does what next, on a clock of the test's own."""

from __future__ import annotations

from birefnet_batch.executors.scheduler import Scheduler
from birefnet_batch.executors.units import EngineKey, Unit

LIGHT: EngineKey = ("light", 1024, 1024, "fp16")
HEAVY: EngineKey = ("heavy", 1024, 1024, "fp16")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(*workers: str, pace: float = 1.0, load_s: float = 10.0) -> tuple[Scheduler, Clock]:
    clock = Clock()
    scheduler = Scheduler(clock, pace=lambda engine: pace, load_s=lambda engine: load_s)
    for worker in workers:
        scheduler.join(worker, f"node-of-{worker}")
    return scheduler, clock


def unit(job: str, length: float, engine: EngineKey = LIGHT) -> Unit:
    return Unit(job, "begin", engine, length)


def jobs(*taken: Unit | None) -> list[str | None]:
    return [None if item is None else item.job for item in taken]


def test_the_longest_goes_first() -> None:
    scheduler, _ = made("a", "b")
    scheduler.add([unit("short", 10), unit("long", 900), unit("middle", 100)])
    assert jobs(scheduler.take("a"), scheduler.take("b")) == ["long", "middle"]


def test_segments_of_a_begun_video_go_before_videos_that_were_not_begun() -> None:
    scheduler, _ = made("a", "b")
    scheduler.add([unit("other", 900), Unit("begun", "segment", LIGHT, 50)])
    assert jobs(scheduler.take("a")) == ["begun"]


def test_a_worker_stays_with_its_engine_while_there_is_work_for_it() -> None:
    scheduler, _ = made("a")
    scheduler.add([unit("x", 10), unit("y", 20), unit("longer", 15, HEAVY)])
    order = []
    for _ in range(3):
        taken = scheduler.take("a")
        assert taken is not None
        order.append(taken.engine)
        scheduler.done("a", taken, frames=taken.length, seconds=taken.length)
    assert order == [LIGHT, LIGHT, HEAVY]


def test_workers_are_shared_among_engines_by_the_work_that_each_has() -> None:
    scheduler, _ = made(*(f"w{number}" for number in range(8)))
    scheduler.add([unit(f"l{number}", 10) for number in range(60)])
    scheduler.add([unit(f"h{number}", 10, HEAVY) for number in range(20)])
    taken = [scheduler.take(name) for name in list(scheduler.workers)]
    engines = [item.engine for item in taken if item is not None]
    assert (engines.count(LIGHT), engines.count(HEAVY)) == (6, 2)


def test_an_engine_is_not_opened_for_what_its_workers_will_have_done_by_then() -> None:
    scheduler, _ = made("a", "b", load_s=30.0)
    scheduler.add([unit("before", 200)])
    before = scheduler.take("a")
    assert before is not None
    scheduler.done("a", before, frames=200, seconds=200)
    scheduler.add([unit("x", 10), unit("y", 10), unit("h", 5, HEAVY)])
    assert jobs(scheduler.take("a")) == ["x"]
    # Nobody has the other engine open, so somebody must.
    assert jobs(scheduler.take("b")) == ["h"]
    assert scheduler.take("b") is None
    scheduler.done("b", scheduler.workers["b"].running[0], frames=5, seconds=5)
    # `y` takes 10 s; opening its engine alone would take 30.
    assert scheduler.take("b") is None
    scheduler.done("a", scheduler.workers["a"].running[0], frames=10, seconds=10)
    assert jobs(scheduler.take("a")) == ["y"]


def test_a_worker_without_an_engine_does_not_stay_idle_on_the_strength_of_a_guess() -> None:
    scheduler, _ = made("a", "b", pace=0.001, load_s=1000.0)
    scheduler.add([unit("x", 10), unit("y", 10)])
    assert jobs(scheduler.take("a"), scheduler.take("b")) == ["x", "y"]


def test_a_second_unit_is_taken_shortly_before_the_first_ends_and_a_third_never() -> None:
    scheduler, clock = made("a")
    scheduler.add([unit(str(length), length) for length in (100, 90, 80, 70)])
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["100", None]
    clock.now = 95.0
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["90", None]


def test_of_a_lost_worker_the_unit_that_it_worked_on_is_given_back_and_the_next_waits_again() -> None:
    scheduler, clock = made("a", "b")
    scheduler.add([unit(str(length), length) for length in (100, 90, 80, 70, 60)])
    scheduler.take("a")
    clock.now = 95.0
    assert jobs(scheduler.take("a")) == ["90"]
    lost = scheduler.leave("a")
    assert jobs(*lost) == ["100"]
    lost[0].tries += 1
    lost[0].avoid.add("b")
    scheduler.add(lost)
    scheduler.join("c", "n")
    # Lost on b too: it goes to another worker as long as there is one.
    assert jobs(scheduler.take("b"), scheduler.take("c")) == ["90", "100"]


def test_a_unit_that_was_lost_everywhere_is_done_by_whoever_is_left() -> None:
    scheduler, _ = made("a")
    lost = unit("x", 10)
    lost.avoid.add("a")
    scheduler.add([lost])
    assert jobs(scheduler.take("a")) == ["x"]


def test_a_join_waits_a_while_for_the_node_of_its_parts() -> None:
    scheduler, clock = made("a", "b")
    scheduler.add([Unit("j", "join", None, 1, near="node-of-b")])
    assert scheduler.take("a") is None
    clock.now = 11.0
    assert jobs(scheduler.take("a")) == ["j"]
    scheduler.add([Unit("k", "join", None, 1, near="node-of-b"), Unit("m", "join", None, 1, near="gone")])
    assert jobs(scheduler.take("b")) == ["k"]
    scheduler.join("c", "n")
    assert jobs(scheduler.take("c")) == ["m"]


def test_what_was_found_corrects_what_is_guessed() -> None:
    scheduler, _ = made("a")
    guessed = [Unit(str(number), "begin", LIGHT, 100.0, guessed=True) for number in range(3)]
    scheduler.add(guessed)
    scheduler.take("a")
    assert scheduler.seconds_left == 300
    scheduler.probed("a", 50)
    assert scheduler.seconds_left == 150
