"""The example for Slurm starts a cluster on its job's nodes, stops the run in time, and queues what is left again.

The programs that it calls are stand-ins here, which write down how they were called.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "cluster" / "slurm.sh"
TOLD = 'echo "${0##*/} $*" >> "$CALLS"\n'
PROGRAMS = {
    "ray": 'if [ "$1" = start ]; then trap "exit 0" TERM; while :; do sleep 0.05; done; fi\n',
    "birefnet-batch": 'trap "exit 130" TERM\n'
    'echo "token ${#RAY_AUTH_TOKEN} threads $OMP_NUM_THREADS" >> "$CALLS"\n'
    'i=0; while [ $i -lt "$STEPS" ]; do sleep 0.05; i=$((i + 1)); done; exit "$STATUS"\n',
    # Slurm's signals each process of a step.
    "srun": 'while [ "$1" != bash ]; do shift; done; setsid "$@" & step=$!\n'
    'trap "kill -TERM -- -$step" TERM; wait; wait\n',
    "scontrol": "",
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job's script on the first of two nodes with four GPUs each."""
    for name, body in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{TOLD}{body}")
        (tmp_path / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "BIN": str(tmp_path),
        "STEPS": "2",
        "STATUS": "0",
        "OMP_NUM_THREADS": "",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_CPUS_PER_TASK": "32",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURMD_NODENAME": "n1",
    }


def start(job: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", SCRIPT, "manifest=a list.jsonl", "output=out"], env=job)


def calls(job: dict[str, str], name: str) -> list[str]:
    lines = Path(job["CALLS"]).read_text().splitlines() if Path(job["CALLS"]).exists() else []
    return [line for line in lines if line.startswith(f"{name} ")]


def until_called(job: dict[str, str], name: str) -> None:
    end = time.monotonic() + 60
    while not calls(job, name):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("status", ["0", "1", "2"])
def test_the_run_has_all_nodes_and_the_job_its_status(job: dict[str, str], status: str) -> None:
    assert start({**job, "STATUS": status}).wait(timeout=60) == int(status)
    (run,) = calls(job, "birefnet-batch")
    (head,) = [line for line in calls(job, "ray") if " --head " in line]
    (other,) = [line for line in calls(job, "ray") if " --address=" in line]
    address = other.partition("--address=")[2].split()[0]
    assert run == f"birefnet-batch executor=ray executor.address={address} manifest=a list.jsonl output=out"
    assert f"--port={address.rpartition(':')[2]} " in head
    assert "--num-cpus=32 " in head
    assert "--num-cpus=32 " in other
    (step,) = calls(job, "srun")
    assert "--nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task=32 --exclude=n1 " in step
    assert calls(job, "token") == ["token 64 threads 8"]
    assert not calls(job, "scontrol")


def test_one_node_needs_no_others(job: dict[str, str]) -> None:
    assert start({**job, "SLURM_JOB_NUM_NODES": "1"}).wait(timeout=60) == 0
    assert not calls(job, "srun")


@pytest.mark.parametrize(
    ("sent", "queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=["time is over", "cancelled"]
)
def test_a_run_that_is_stopped_is_queued_again_when_its_time_is_over_alone(
    job: dict[str, str], sent: signal.Signals, queued: bool
) -> None:
    program = start({**job, "STEPS": "2000"})
    until_called(job, "token")
    program.send_signal(sent)
    assert program.wait(timeout=60) == 130
    assert calls(job, "scontrol") == ([f"scontrol requeue {os.getpid()}"] if queued else [])


def test_a_run_that_ends_by_itself_as_its_time_is_over_is_done(job: dict[str, str]) -> None:
    (Path(job["BIN"]) / "birefnet-batch").write_text(f'#!/usr/bin/env bash\ntrap "" TERM\n{TOLD}sleep 1\n')
    program = start(job)
    until_called(job, "birefnet-batch")
    program.send_signal(signal.SIGUSR1)
    assert program.wait(timeout=60) == 0
    assert not calls(job, "scontrol")


def test_a_head_that_does_not_start_ends_the_job(job: dict[str, str]) -> None:
    (Path(job["BIN"]) / "ray").write_text(f"#!/usr/bin/env bash\n{TOLD}exit 1\n")
    assert start(job).wait(timeout=60) == 1
    assert not calls(job, "birefnet-batch")
