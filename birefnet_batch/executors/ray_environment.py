"""The runtime environment of a run's workers: the user's, and what all of them need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.process_tuning import waiting_variables
from birefnet_batch.refusals import one_line


def environment(given: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """The environment in Ray's terms.

    Args:
        given: `executor.runtime_env`; it goes before ours.
        threads: of a worker's engines.

    Raises:
        ConfigError: its variables are none.
    """
    # Ray would set the number of reserved CPUs, which is no whole number for every share.
    ours = {"OMP_NUM_THREADS": str(threads), **waiting_variables()}
    asked = given.get("env_vars") or {}
    if not isinstance(asked, dict):
        raise ConfigError(f"executor.runtime_env.env_vars is {asked!r}; give NAME: VALUE for each variable")
    return {**given, "env_vars": {**ours, **{str(name): _text(value) for name, value in asked.items()}}}


def check_environment(given: dict[str, Any]) -> None:
    """Make sure that Ray takes a runtime environment.

    Raises:
        ConfigError: it does not.
    """
    from ray.runtime_env import RuntimeEnv

    fields = sorted(name for name in RuntimeEnv.known_fields if not name.startswith("_"))
    # Ray ignores them.
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise ConfigError(f"executor.runtime_env.{unknown[0]} is no field of Ray's; they are {', '.join(fields)}")
    try:
        RuntimeEnv(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"executor.runtime_env cannot be used: {one_line(error)}") from None


def _text(value: Any) -> str:
    """A number on a command line is one, and Ray takes text alone."""
    return str(value).lower() if isinstance(value, bool) else str(value)
