"""From `executor.name` to the executor."""

from __future__ import annotations

from birefnet_batch.executors.base import Executor, RunContext
from birefnet_batch.executors.local import LocalExecutor
from birefnet_batch.executors.ray_executor import RayExecutor

_EXECUTORS: tuple[type[Executor], ...] = (LocalExecutor, RayExecutor)


def make_executor(context: RunContext) -> Executor:
    """The executor that the settings name; settings were validated, so it exists."""
    by_name = {executor.name: executor for executor in _EXECUTORS}
    return by_name[context.settings.executor.name.value](context)
