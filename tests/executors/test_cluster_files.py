"""The example cluster files are what Ray reads, and the dashboard shows metrics that there are."""

from __future__ import annotations

import json
import re
import tomllib
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


def test_workers_on_aws_have_credentials_for_the_bucket_of_their_command() -> None:
    # Of its own Ray gives a role to the head alone, and that one may not start machines with a role.
    types = read("aws.yaml")["available_node_types"]
    profiles = {name: kind["node_config"]["IamInstanceProfile"]["Name"] for name, kind in types.items()}
    (told,) = re.findall(rf"# +{profiles['head']} (.*)", (FILES / "aws.yaml").read_text())
    assert told.endswith(f"iam:PassRole for the role of {profiles['gpu']}")


def test_machines_on_aws_have_an_image_with_a_python_that_we_run_on() -> None:
    # Without one Ray takes Ubuntu 18.04, which has none. Who starts a machine must be able to look it up.
    config = read("aws.yaml")
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    (parameter,) = images
    assert parameter.startswith("resolve:ssm:/aws/service/")
    assert "ubuntu-24.04" in parameter
    assert "ssm:GetParameters" in (FILES / "aws.yaml").read_text()


def test_workers_on_google_cloud_have_the_account_that_ray_makes_in_the_same_project() -> None:
    config = read("gcp.yaml")
    (account,) = config["available_node_types"]["gpu"]["node_config"]["serviceAccounts"]
    assert account["email"] == f"ray-autoscaler-sa-v1@{config['provider']['project_id']}.iam.gserviceaccount.com"
    assert account["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]


def test_what_rays_launcher_needs_on_aws_leaves_the_botocore_of_s3fs_as_it_is() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = util.prepare_config(read("aws.yaml"))
    *common, last = config["head_setup_commands"]
    assert common == config["worker_setup_commands"]
    assert "pip install boto3 " in last
    assert "botocore==$(" in last


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


def test_an_image_has_all_files_that_the_package_is_made_of_and_a_torch_that_it_takes() -> None:
    root = FILES.parents[1]
    lines = (FILES / "Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    project = tomllib.loads((root / "pyproject.toml").read_text())
    folders = project["tool"]["setuptools"]["package-dir"].values()
    assert {"pyproject.toml", "birefnet_batch", "README.md", *project["project"]["license-files"]} <= copied
    # Of engines/ not the store of a checkout.
    assert set(folders) <= copied | {Path(source).parts[0] for source in copied}
    assert {f"engines/{name}" for name in ("__init__.py", "matrix.yaml")} == {
        source for source in copied if source.startswith("engines")
    }
    assert all((root / source).exists() for source in copied)
    (wanted,) = re.findall(r"pip install '(torch[^']*)'", "\n".join(lines))
    assert wanted in project["project"]["optional-dependencies"]["onnx-gpu"]
