"""The workers' runtime environment: what a command line gives becomes what Ray takes, or one clear error."""

from __future__ import annotations

from typing import Any

import pytest

from birefnet_batch.errors import ConfigError
from birefnet_batch.executors.ray_environment import check_environment, environment

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nonsense": 1}, "executor.runtime_env.nonsense is no field of Ray's; they are .*env_vars"),
        ({"pip": 3}, "executor.runtime_env cannot be used: .*pip.* must be"),
        ({"env_vars": 3}, "executor.runtime_env.env_vars is 3; give NAME: VALUE"),
        # A list is no mapping of names either, and Ray's own words for it name no setting.
        ({"env_vars": [1]}, r"executor.runtime_env.env_vars is \[1\]; give NAME: VALUE"),
    ],
)
def test_a_runtime_environment_that_ray_does_not_take_is_one_clear_error(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_environment(environment(given, threads=2))


def test_numbers_in_the_environment_of_a_command_line_become_text() -> None:
    given = environment({"env_vars": {"A": 1, "B": True}}, threads=2)
    assert (given["env_vars"]["A"], given["env_vars"]["B"]) == ("1", "true")
    assert given["env_vars"]["OMP_NUM_THREADS"] == "2"
    check_environment(given)
