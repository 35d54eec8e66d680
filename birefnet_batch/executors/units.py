"""What the scheduler hands out: one step of one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

EngineKey = tuple[str, int, int, str]
"""Model (short name), operating width and height, precision."""

Step = Literal["begin", "segment", "join"]


@dataclass(eq=False, slots=True)
class Unit:
    """One step of one job.

    `begin` prepares a job, and goes on to its end when the job is a single segment. `segment` is one segment of a
    longer one, `join` its last step.
    """

    job: Any
    """Whatever the scheduler's owner knows the job by."""
    step: Step
    engine: EngineKey | None
    """What it needs open; None for a join."""
    length: float
    """Frames; guessed from the size in bytes for as long as the video was not probed."""
    guessed: bool = False
    index: int = 0
    """Which segment."""
    near: str | None = None
    """The node where it is cheapest."""
    tries: int = 0
    """How often it was lost."""
    avoid: frozenset[str] = frozenset()
    """Workers on which it was lost."""
    failed_on: frozenset[str] = frozenset()
    """Nodes where it failed, which may be their fault."""
    verdict: Any = None
    """How it failed on the last of them."""
    probe: bool = False
    """Whether it was given to find out what its node can do."""
    since: float = 0.0
    """When it began to wait, by the scheduler's clock."""
