"""A real Ray cluster on this machine, one for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_runs import OnRay


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head without CPUs and a node with two; further nodes may come and go."""
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")
    # A token would be written into the home folder.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    from ray.cluster_utils import Cluster

    # A dead node is noticed in two seconds instead of half a minute.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": quick}
    )
    try:
        made.add_node(num_cpus=2)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def on_ray(cluster: Any, tmp_path: Path) -> OnRay:
    """Runs on the cluster."""
    folder = tmp_path / "faults"
    folder.mkdir()
    return OnRay(cluster, folder)
