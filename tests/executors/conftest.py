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
    """A head without CPUs, so that every other node may come and go, and a node with four."""
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")
    # A token would be written into the home folder.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        made.add_node(num_cpus=4)
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
