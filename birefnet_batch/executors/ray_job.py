"""How long a run that is told to stop may take, as the driver of a `ray job` too, which Ray kills soon after that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray's variable that only the driver of a job has."""
# And the seconds that Ray leaves it by itself.
_STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
_STOP_WAIT_S = 3.0
# What is being given back stops at its next frame; a worker that does not is ended.
_GIVE_BACK_S = 10.0
# The workers' ends, the run's record and its lease take so long.
_END_S = 2.0


@dataclass(frozen=True)
class StopTimes:
    """What a run that is told to stop has time for."""

    grace_s: float
    """For running segments, to finish."""
    give_back_s: float
    """For those that did not, to be given back."""
    why: str
    """Which setting says so."""


def stop_times(grace_s: float, environment: Mapping[str, str]) -> StopTimes:
    """The times that there are; with less than was asked for, what does not finish is given back before Ray kills.

    Args:
        grace_s: `executor.grace_s`.
        environment: the driver's variables.
    """
    if IN_A_JOB not in environment:
        return StopTimes(grace_s, _GIVE_BACK_S, "executor.grace_s")
    try:
        wait_s = float(environment.get(_STOP_WAIT, _STOP_WAIT_S))
    except ValueError:
        wait_s = _STOP_WAIT_S
    give_back_s = min(_GIVE_BACK_S, max(0.0, wait_s - _END_S) / 2)
    left_s = max(0.0, wait_s - _END_S - give_back_s)
    if grace_s <= left_s:
        return StopTimes(grace_s, give_back_s, "executor.grace_s")
    return StopTimes(
        left_s,
        give_back_s,
        f"executor.grace_s={grace_s:g}, but ray job stop kills the run after {wait_s:g} s; {_STOP_WAIT} sets that",
    )
