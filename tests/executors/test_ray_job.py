"""A run inside a `ray job` ends before Ray kills it, and says how long it has."""

from __future__ import annotations

import pytest

from birefnet_batch.executors.ray_job import IN_A_JOB, stop_times

JOB = {IN_A_JOB: "{}"}


def test_outside_of_a_job_the_setting_counts() -> None:
    times = stop_times(60, {"RAY_JOB_STOP_WAIT_TIME_S": "5"})
    assert (times.grace_s, times.why) == (60, "executor.grace_s")


@pytest.mark.parametrize("told", [None, "3", "20", "90", "soon"])
def test_in_a_job_all_is_over_before_ray_kills_it(told: str | None) -> None:
    times = stop_times(60, JOB if told is None else {**JOB, "RAY_JOB_STOP_WAIT_TIME_S": told})
    wait_s = float(told) if told and told.isdigit() else 3
    assert times.give_back_s > 0
    assert times.grace_s + times.give_back_s < wait_s
    assert ("ray job stop kills the run after" in times.why) is (wait_s < 60)
    assert (times.grace_s == 60) is (wait_s == 90)
