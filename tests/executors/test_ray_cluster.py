"""What is told from the nodes of a cluster: the device, and how many workers to ask for."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import ConfigError, EngineError
from birefnet_batch.executors import ray_cluster, ray_folder
from birefnet_batch.executors.ray_cluster import RayCluster, resolved
from birefnet_batch.executors.ray_room import Share
from birefnet_batch.settings import Device, EngineName, EngineSettings, ExecutorSettings, Provider, Settings

pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")
HEAD = {"CPU": 0.0, "memory": 8e9}


class Nodes:
    """As much of Ray as says which nodes there are; one joins at each look."""

    def __init__(self, *resources: dict[str, float]) -> None:
        self._resources = list(resources)
        self.there: list[dict[str, float]] = [HEAD]

    def nodes(self) -> list[dict[str, Any]]:
        seen = [{"Alive": True, "Resources": resources} for resources in self.there]
        self.there += self._resources[:1]
        del self._resources[:1]
        return seen

    def cluster_resources(self) -> dict[str, float]:
        return {name: sum(node.get(name, 0) for node in self.there) for name in ("CPU", "GPU")}


class Startable(Nodes):
    """A Ray that a run starts and ends."""

    exceptions = SimpleNamespace(RayError=KeyError)
    util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass


def on(nodes: Nodes, device: Device = Device.auto, **executor: Any) -> RayCluster:
    settings = replace(
        Settings(), engine=EngineSettings(device=device, threads=2), executor=ExecutorSettings(**executor)
    )
    return RayCluster(nodes, settings)


def test_a_cluster_without_room_is_asked_for_one_worker_so_that_it_can_grow_from_nothing() -> None:
    share = Share(cpus=2, gpus=1)
    assert on(Nodes()).wanted(share) == 1
    assert on(Nodes(), workers=4).wanted(share) == 4
    nodes = Nodes()
    nodes.there += [{"CPU": 8.0, "GPU": 2.0}] * 3
    assert on(nodes).wanted(share) == 6


@pytest.mark.parametrize(("node", "device"), [({"CPU": 4.0}, Device.cpu), ({"CPU": 4.0, "GPU": 1.0}, Device.cuda)])
def test_the_device_is_told_from_the_first_node_that_has_any(
    node: dict[str, float], device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_cluster, "_LOOK_EVERY_S", 0.0)
    cluster = on(Nodes(HEAD, HEAD, node))
    with caplog.at_level(logging.WARNING):
        cluster._await_nodes()
    assert cluster.device is device
    assert [record.message.partition(" waits for ")[0] for record in caplog.records] == ["engine.device=auto"]


@pytest.mark.parametrize(("provider", "gpus"), [(Provider.openvino, 0.0), (Provider.cuda, 1.0)])
def test_workers_reserve_what_the_provider_of_onnxruntime_runs_on(provider: Provider, gpus: float) -> None:
    engine = EngineSettings(EngineName.onnxruntime, provider=provider, threads=2)
    nodes = Nodes()
    nodes.there.append({"CPU": 4.0, "GPU": 1.0})
    assert RayCluster(nodes, replace(Settings(), engine=engine)).share().gpus == gpus


def test_a_device_that_was_given_waits_for_no_node() -> None:
    cluster = on(Nodes(), device=Device.cuda)
    cluster._await_nodes()
    assert cluster.share().gpus == 1


@pytest.mark.parametrize("of_the_job", [False, True])
@pytest.mark.parametrize("environment", [{}, {"working_dir": "project"}])
def test_paths_stay_relative_where_ray_brings_the_working_folder_to_the_workers(
    environment: dict[str, str], of_the_job: bool
) -> None:
    nodes: Any = Nodes()
    nodes.get_runtime_context = lambda: SimpleNamespace(runtime_env=environment if of_the_job else {})
    cluster = on(nodes, device=Device.cpu, runtime_env={} if of_the_job else environment)
    given = replace(Settings(), executor=ExecutorSettings(scratch="parts"))
    assert resolved(given, cluster).executor.scratch == ("parts" if environment else str(Path("parts").absolute()))


@pytest.mark.parametrize(("given", "shown"), [(None, 4), ("1", 1)])
def test_lines_of_workers_that_differ_in_their_videos_only_all_reach_the_driver(given: str | None, shown: int) -> None:
    code = """
from birefnet_batch.executors.ray_cluster import require_ray
require_ray()
from ray._private.ray_logging import stderr_deduplicator
for pid in range(4):
    line = f"INFO engine_cache [clip{pid}-8ea124752f8c]: engine of demo"
    for batch in stderr_deduplicator.deduplicate({"ip": "192.0.2.1", "pid": pid, "lines": [line]}):
        print(*batch["lines"], sep="\\n")
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_DEDUP_LOGS"}
    if given is not None:
        environment["RAY_DEDUP_LOGS"] = given
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert len(said.stdout.split("engine of demo")) - 1 == shown


def test_this_machine_says_at_once_that_it_has_no_room_for_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster = on(Startable(), device=Device.cpu, resources={"fast_disk": 1.0})
    monkeypatch.setattr(cluster, "_start", lambda: None)
    with pytest.raises(ConfigError, match=r"on this machine: .* reserves 2 CPU, 1 fast_disk .*; ask for less"):
        cluster.__enter__()


class Removed:
    """What a signal's handler raises while this is removed is lost."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_the_processes_of_a_ray_that_a_run_starts_outlive_terminal_and_notice_and_the_run_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    tell = f"import os; os.kill(os.getpid(), {number:d})"

    class Starting(Startable):
        def init(self, **_: Any) -> None:
            subprocess.run([sys.executable, "-c", tell], check=True)
            signal.raise_signal(number)

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            on(Starting(), device=Device.cpu).__enter__()
    finally:
        signal.signal(number, before)
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("address", [None, "auto"])
def test_a_run_that_is_told_to_stop_while_ray_starts_is_interrupted_as_at_any_other_time(
    address: str | None, lost: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Slow(Startable):
        ended = False

        def init(self, **_: Any) -> None:
            # The first thing that ray.init does.
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            if lost:
                Removed()
            else:
                signal.raise_signal(signal.SIGTERM)

        def shutdown(self) -> None:
            self.ended = True

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ray, before = Slow(), signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            on(ray, device=Device.cpu, address=address).__enter__()
        assert signal.getsignal(signal.SIGTERM) is interrupt
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ray.ended


def test_an_engine_that_this_machine_cannot_run_is_told_and_not_what_its_workers_would_reserve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    engine = EngineSettings(name=EngineName.tensorrt)
    cluster = RayCluster(Startable(), replace(Settings(), engine=engine))
    monkeypatch.setattr(cluster, "_start", lambda: None)
    with pytest.raises(EngineError, match="engine.name=tensorrt was asked for, but torch .* give engine=torch"):
        cluster.__enter__()


@pytest.mark.parametrize(("wish", "reports"), [(None, "0"), ("1", "1")])
def test_a_ray_that_a_run_starts_reports_to_nobody_unless_the_user_has_it_so(
    wish: str | None, reports: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Starting(Startable):
        given = ""

        def init(self, **_: Any) -> None:
            self.given = os.environ["RAY_USAGE_STATS_ENABLED"]

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    if wish is not None:
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", wish)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ray = Starting()
    ray.there = [{"CPU": 4.0}]
    with on(ray, device=Device.cpu):
        assert ray.given == reports
    assert os.environ.get("RAY_USAGE_STATS_ENABLED") == wish


@pytest.mark.parametrize("address", [None, "auto"])
def test_only_a_cluster_that_was_joined_may_get_further_machines_to_wait_for(
    address: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nodes = Startable()
    nodes.there = [{"CPU": 4.0}]
    with on(nodes, device=Device.cpu, address=address) as cluster:
        assert cluster.grows is (address is not None)


def test_a_ray_that_cannot_be_started_here_is_one_error_that_names_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Broken(Startable):
        def init(self, **_: Any) -> None:
            raise OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_folder, "LONGEST", 4096)
    with pytest.raises(ConfigError, match=r"cannot start Ray .*AF_UNIX path.*TMPDIR") as caught:
        on(Broken(), device=Device.cpu).__enter__()
    assert f"its files in {tmp_path}" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for as Linux has them")
def test_a_ray_whose_node_process_dies_at_its_start_is_one_error_with_its_last_words_and_what_it_began_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Dying(Startable):
        def init(self, *, _temp_dir: str, **_: Any) -> None:
            logs = Path(_temp_dir) / "session_latest" / "logs"
            logs.mkdir(parents=True)
            (logs / "raylet.err").write_text(
                "cannot open /dev/shm/plasma\n*** StackTrace Information ***\nraylet(+0xff)\n"
            )
            with (logs / "gcs_server.out").open("w") as log:
                self.left = subprocess.Popen(["bash", "-c", "exec -a ray::gcs_server sleep 60"], stdout=log)
            while b"ray::" not in Path(f"/proc/{self.left.pid}/cmdline").read_bytes().split(b"\0")[0]:
                time.sleep(0.01)
            # Ray's own, of no narrower kind.
            raise Exception("The current node timed out during startup.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_folder, "LONGEST", 4096)
    ray = Dying()
    with pytest.raises(ConfigError, match=r"Ray .*startup; its node .* says: cannot open /dev/shm/plasma; mend"):
        on(ray, device=Device.cpu).__enter__()
    assert ray.left.wait(10) == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def test_without_a_folder_for_temporary_files_ray_is_not_started_and_the_error_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setattr(ray_folder, "LONGEST", 4096)
    with pytest.raises(ConfigError, match=r"cannot start Ray .*gone.* characters, as TMPDIR"):
        on(Startable(), device=Device.cpu).__enter__()


def test_ray_is_not_asked_to_start_at_an_address_where_this_machine_does_not_reach_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Endless(Startable):
        util = SimpleNamespace(get_node_ip_address=lambda: "203.0.113.7")

        def init(self, **_: Any) -> None:
            pytest.fail("Ray asks again and again, without end")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match="do not reach each other"):
        on(Endless(), device=Device.cpu).__enter__()
    assert not list(tmp_path.iterdir())
