"""Who does what next, on a clock of the test's own."""

from __future__ import annotations

from birefnet_batch.executors.doubts import PROBES
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


def measure(scheduler: Scheduler, worker: str, pace: float = 1.0, engine: EngineKey = LIGHT) -> None:
    """Have a worker do so many frames that its engine's pace is known."""
    scheduler.add([unit("measured", 100, engine)])
    taken = scheduler.take(worker)
    assert taken is not None
    scheduler.done(worker, taken, frames=100, seconds=100 * pace)


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
    measure(scheduler, "a")
    scheduler.add([unit(str(length), length) for length in (100, 90, 80, 70)])
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["100", None]
    clock.now = 95.0
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["90", None]


def test_of_a_lost_worker_the_unit_that_it_worked_on_is_given_back_and_the_next_waits_again() -> None:
    scheduler, clock = made("a", "b")
    measure(scheduler, "a")
    scheduler.add([unit(str(length), length) for length in (100, 90, 80, 70, 60)])
    scheduler.take("a")
    clock.now = 95.0
    assert jobs(scheduler.take("a")) == ["90"]
    lost = scheduler.leave("a")
    assert jobs(lost) == ["100"]
    assert lost is not None
    lost.tries += 1
    lost.avoid |= {"b"}
    scheduler.add([lost])
    scheduler.join("c", "n")
    # Lost on b too: it goes to another worker as long as there is one.
    assert jobs(scheduler.take("b"), scheduler.take("c")) == ["90", "100"]


def test_a_unit_that_was_lost_everywhere_is_done_by_whoever_is_left() -> None:
    scheduler, _ = made("a")
    lost = unit("x", 10)
    lost.avoid |= {"a"}
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
    measure(scheduler, "a")
    guessed = [Unit(str(number), "begin", LIGHT, 100.0, guessed=True) for number in range(3)]
    scheduler.add(guessed)
    scheduler.take("a")
    assert scheduler.seconds_left is None, "bytes alone say nothing of lengths"
    scheduler.probed("a", 50)
    assert scheduler.seconds_left == 150


def test_nothing_is_taken_ahead_on_the_strength_of_a_guess() -> None:
    # Guessed at 0.1 s for a frame; it takes 5.
    scheduler, clock = made("a", "b", pace=0.1, load_s=0.0)
    scheduler.add([Unit(str(length), "begin", LIGHT, length, guessed=True) for length in (90.0, 80.0, 70.0, 60.0)])
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["90.0", None]
    clock.now = 8.0
    assert scheduler.take("a") is None, "neither length nor pace is known"
    scheduler.probed("a", 300)
    scheduler.progressed("a", 3, 15.0)
    clock.now = 20.0
    assert scheduler.take("a") is None, "a handful of frames"
    scheduler.progressed("a", 40, 200.0)
    # 260 frames are left, of 5 s each.
    clock.now = 20.0 + 1300.0 - 11.0
    assert scheduler.take("a") is None
    clock.now += 2.0
    assert jobs(scheduler.take("a")) == ["80.0"]


def test_a_video_that_is_slower_than_others_of_its_engine_is_expected_to_end_later() -> None:
    scheduler, clock = made("a")
    measure(scheduler, "a", pace=0.1)
    scheduler.add([unit("large", 100), unit("x", 90), unit("y", 80)])
    scheduler.take("a")
    scheduler.progressed("a", 20, 100.0)
    clock.now = 9.0
    assert scheduler.take("a") is None
    clock.now = 391.0
    assert jobs(scheduler.take("a")) == ["x"]


def test_the_time_that_an_engine_takes_to_open_is_expected_too() -> None:
    scheduler, clock = made("a")
    measure(scheduler, "a")
    scheduler.add([unit(str(length), length, HEAVY) for length in (50, 40, 30)])
    scheduler.take("a")
    clock.now = 45.0
    assert scheduler.take("a") is None
    scheduler.progressed("a", 25, 25.0)
    assert scheduler.workers["a"].until == 70.0


def test_nothing_waits_behind_a_join() -> None:
    scheduler, _ = made("a")
    measure(scheduler, "a")
    scheduler.add([Unit("j", "join", None, 1), unit("x", 10), unit("y", 10)])
    assert jobs(scheduler.take("a"), scheduler.take("a")) == ["j", None]


def test_a_join_goes_before_what_is_still_to_be_begun_however_much_that_is() -> None:
    scheduler, clock = made("a")
    measure(scheduler, "a")
    scheduler.add([unit(str(number), 100) for number in range(9)])
    segment = scheduler.take("a")
    assert segment is not None
    scheduler.add([Unit("j", "join", None, 1, near="node-of-a")])
    clock.now = 99.0
    assert scheduler.take("a") is None
    scheduler.done("a", segment, frames=100, seconds=100)
    assert jobs(scheduler.take("a")) == ["j"]


def test_a_join_that_no_worker_of_a_node_may_do_keeps_none_there_from_taking_ahead() -> None:
    scheduler, clock = made("a")
    measure(scheduler, "a")
    failed = Unit("j", "join", None, 1, failed_on=frozenset({"node-of-a"}))
    scheduler.add([failed, unit("x", 100), unit("y", 90), unit("z", 80)])
    assert jobs(scheduler.take("a")) == ["x"]
    clock.now = 199.0
    assert jobs(scheduler.take("a")) == ["y"]


def test_time_left_is_not_told_from_a_handful_of_frames_nor_while_nobody_works() -> None:
    scheduler, _ = made("a", pace=0.01)
    scheduler.add([unit("x", 1000), unit("y", 500)])
    scheduler.take("a")
    assert scheduler.seconds_left is None
    scheduler.progressed("a", 8, 16.0)
    assert scheduler.seconds_left is None
    scheduler.progressed("a", 100, 200.0)
    # 900 frames and 500, of 2 s each, as far as the guess does not count any more.
    assert scheduler.seconds_left == 2800.0
    scheduler.leave("a")
    assert scheduler.seconds_left is None


def test_time_left_is_at_least_that_of_the_longest_video() -> None:
    scheduler, _ = made("a", "b", "c")
    measure(scheduler, "a")
    scheduler.add([unit("long", 900), unit("x", 10)])
    scheduler.take("a")
    assert scheduler.seconds_left == 900
    scheduler.progressed("a", 600, 600.0)
    assert scheduler.seconds_left == 300


def test_what_one_engine_turned_out_to_take_corrects_the_guesses_of_the_others() -> None:
    scheduler, _ = made("a", "b", pace=0.1)
    measure(scheduler, "a", pace=2.0)
    scheduler.add([unit("h", 50, HEAVY), unit("i", 50, HEAVY)])
    scheduler.take("b")
    assert scheduler.seconds_left == 110, "100 frames of 2 s on two workers, and an engine that opens within 10 s"


def test_frames_that_were_told_of_while_they_were_made_count_once() -> None:
    scheduler, _ = made("a", pace=5.0)
    scheduler.add([unit("x", 100), unit("y", 10)])
    taken = scheduler.take("a")
    assert taken is not None
    for frames in (25, 50, 75):
        scheduler.progressed("a", frames, frames * 1.0)
    scheduler.done("a", taken, frames=100, seconds=110.0)
    queue = scheduler.workers["a"].queue
    assert queue is not None
    assert (queue.frames, queue.pace) == (100, 1.1)


def test_expectations_that_change_for_hours_take_no_memory() -> None:
    scheduler, _ = made("a", "b")
    scheduler.add([unit("x", 10_000), unit("y", 10_000)])
    scheduler.take("a"), scheduler.take("b")
    for frames in range(1, 5000):
        scheduler.progressed("a", frames, frames * 1.5)
    assert len(scheduler._last_end._ends) < 100
    assert scheduler._last_end(0.0) == max(worker.until for worker in scheduler.workers.values())


def test_a_node_in_doubt_gets_the_shortest_and_others_do_not_leave_an_engines_work_to_it() -> None:
    scheduler, _ = made("a", "b", load_s=1000.0)
    scheduler.add([unit(str(length), length) for length in (40, 30, 20, 10)])
    failed = scheduler.take("a")
    assert failed is not None
    scheduler.done("a", failed)
    failed.failed_on |= {"node-of-a"}
    scheduler.doubts.failed("node-of-a", LIGHT, "40", believed=False, probe=False, place="a", reason="no disk")
    scheduler.add([failed])
    taken = scheduler.take("a")
    assert jobs(taken) == ["10"]
    assert taken is not None
    assert taken.probe
    for number in range(PROBES):
        scheduler.doubts.failed(
            "node-of-a", LIGHT, f"{number}", believed=False, probe=True, place="a", reason="no disk"
        )
    scheduler.done("a", taken)
    assert scheduler.take("a") is None
    assert jobs(scheduler.take("b")) == ["40"]
    # What another of its workers had begun was done after all.
    scheduler.doubts.succeeded("node-of-a", LIGHT)
    assert jobs(scheduler.take("a")) == ["30"]
