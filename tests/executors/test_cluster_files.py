"""The example cluster files are what Ray reads, and the dashboard shows metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from birefnet_batch import Settings
from birefnet_batch.executors.ray_job import IN_A_JOB, stop_times

FILES = Path(__file__).parents[2] / "docs" / "cluster"


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FILES / name).read_text())
    return loaded


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_rays_launcher_takes_the_file(name: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = util.prepare_config(read(name))
    util.validate_config(config)
    assert config["provider"]["type"] == name.removesuffix(".yaml")
    broken = {**config, "max_workers": "many"}
    with pytest.raises(Exception, match="many"):
        util.validate_config(broken)


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_rays_autoscaler_reads_the_cluster_for_kubernetes(name: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    from ray.autoscaler._private.kuberay import autoscaling_config

    document = read(name)
    cluster = {"metadata": {"name": "birefnet", "namespace": "default"}, "spec": document["spec"]}
    if document["kind"] == "RayJob":
        assert "executor=ray executor.address=auto" in document["spec"]["entrypoint"]
        cluster["spec"] = document["spec"]["rayClusterSpec"]
    config = autoscaling_config._derive_autoscaling_config_from_ray_cr(cluster)
    util.validate_config(config)
    resources = {kind: node["resources"] for kind, node in config["available_node_types"].items()}
    assert resources[config["head_node_type"]]["CPU"] == 0
    assert resources["gpu"]["GPU"] == 1


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml", "kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_the_command_beside_a_cluster_without_gpus_between_runs_has_some_started(name: str) -> None:
    text = (FILES / name).read_text().replace("#", " ")
    (command,) = re.findall(r"birefnet-batch executor=ray(?:[^\n]|\n\s+\S+=)+", text.replace("\\\n", ""))
    words = dict(word.split("=", 1) for word in command.split()[1:])
    assert words["executor.address"] == "auto"
    assert int(words["executor.workers"]) > 1
    assert words["engine.device"] == "cuda"


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml", "kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_a_job_that_is_stopped_has_its_grace_before_ray_kills_it(name: str) -> None:
    (told,) = re.findall(r"RAY_JOB_STOP_WAIT_TIME_S(?:=|, value: \")(\d+)", (FILES / name).read_text())
    times = stop_times(Settings().executor.grace_s, {IN_A_JOB: "{}", "RAY_JOB_STOP_WAIT_TIME_S": told})
    assert times.why == "executor.grace_s"


def test_the_dashboard_asks_for_metrics_that_are_counted() -> None:
    dashboard = json.loads((FILES / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_(birefnet_\w+?)(?:_total)?\b", target["expr"])
    }
    source = (FILES.parents[1] / "birefnet_batch" / "executors" / "ray_metrics.py").read_text()
    counted = set(re.findall(r'"(birefnet_\w+)"', source))
    assert asked <= counted
    assert {"birefnet_frames", "birefnet_stage_seconds", "birefnet_engine_opens", "birefnet_retries"} <= asked
