"""The scheduler itself on a virtual clock: many videos over many workers in seconds."""

from __future__ import annotations

import heapq
import random
import time

from birefnet_batch.executors.scheduler import Scheduler
from birefnet_batch.executors.units import EngineKey, Unit

ENGINES: dict[EngineKey, tuple[float, float]] = {
    # Seconds a frame and seconds to open, as on an A100.
    ("light", 1024, 1024, "fp16"): (0.070, 20.0),
    ("heavy", 1024, 1024, "fp16"): (0.025, 10.0),
    ("light_2k", 2560, 1440, "fp16"): (0.090, 15.0),
}


def schedule(workers: int, videos: int, sigma: float, seed: int = 1) -> None:
    """Many videos over many workers on a virtual clock, the time that engines take to open included."""
    rng = random.Random(seed)
    now = 0.0
    scheduler = Scheduler(lambda: now, pace=lambda engine: ENGINES[engine][0], load_s=lambda engine: ENGINES[engine][1])
    units, seconds = [], {}
    for number in range(videos):
        engine = rng.choices(list(ENGINES), (5, 3, 1))[0]
        frames = rng.lognormvariate(6.5, sigma)
        # What is known before it is probed: bytes, which say the length within a third or so.
        unit = Unit(number, "begin", engine, frames * rng.lognormvariate(0.7, 0.35), guessed=True)
        units.append(unit)
        seconds[number] = (frames, frames * ENGINES[engine][0] * rng.lognormvariate(0.0, 0.1))
    began = time.perf_counter()
    scheduler.add(units)
    for number in range(workers):
        scheduler.join(f"w{number}", "n")
    # (when, worker, whether its first unit ends or another is offered).
    events: list[tuple[float, str, bool]] = []
    held: dict[str, EngineKey] = {}
    loads = 0
    idle: set[str] = set()
    busy: set[str] = set()

    def begin(worker: str, unit: Unit) -> None:
        nonlocal loads
        load = 0.0
        if held.get(worker) != unit.engine:
            held[worker] = unit.engine
            load = ENGINES[unit.engine][1]
            loads += 1
            scheduler.opened(worker, unit.engine, load)
            scheduler.holds(worker, [unit.engine])
        scheduler.probed(worker, seconds[unit.job][0])
        heapq.heappush(events, (now + load + seconds[unit.job][1], worker, True))
        # A driver offers once a second; here it does when an offer may be taken.
        heapq.heappush(events, (max(now, scheduler.workers[worker].until - 10.0), worker, False))
        busy.add(worker)

    def offer(worker: str) -> None:
        while (unit := scheduler.take(worker)) is not None:
            if worker not in busy:
                begin(worker, unit)
        if not scheduler.workers[worker].running:
            idle.add(worker)

    for worker in list(scheduler.workers):
        offer(worker)
    used = set(busy)
    finished, next_round = 0, 0.0
    while events:
        at, worker, ended = heapq.heappop(events)
        if not ended:
            if worker in busy:
                now = at
                offer(worker)
            continue
        now = at
        busy.discard(worker)
        running = scheduler.workers[worker].running
        unit = running[0]
        frames, took = seconds[unit.job]
        scheduler.done(worker, unit, frames=frames, seconds=took)
        finished += 1
        if running:
            begin(worker, running[0])
        offer(worker)
        if scheduler.waiting and now >= next_round:
            # A driver offers to all once a second.
            next_round = now + 1.0
            for other in list(idle):
                idle.discard(other)
                offer(other)
        used |= busy
    wall = time.perf_counter() - began
    assert finished == videos
    total, longest = sum(took for _, took in seconds.values()), max(took for _, took in seconds.values())
    bound = max(total / workers, longest)
    print(
        f"{workers} workers, {videos} videos (log-normal, sigma {sigma:g}), {len(ENGINES)} models: "
        f"makespan {now:.0f} s = {now / bound:.3f} of max(total / workers {total / workers:.0f}, "
        f"longest {longest:.0f}); {loads / len(used):.3f} engine loads a worker ({len(used)} used); "
        f"{scheduler.decisions / wall:.0f} decisions/s"
    )
