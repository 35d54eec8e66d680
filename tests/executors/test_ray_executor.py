"""The manifest on a real Ray cluster: the same bytes as without, segments on several workers, nothing left behind."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faults
import pytest
from batch_runs import request
from clips import make_clip
from ray_runs import OnRay

from birefnet_batch import Settings, engines, run
from birefnet_batch.errors import OutputError
from birefnet_batch.executors.base import RunContext
from birefnet_batch.executors.messages import Call, Hello
from birefnet_batch.executors.ray_executor import Driver, _for_workers
from birefnet_batch.executors.ray_paths import absolute_paths
from birefnet_batch.executors.ray_room import Share
from birefnet_batch.jobs import Job
from birefnet_batch.progress import PlainProgress
from birefnet_batch.settings import EngineSettings, MediaSettings, StorageSettings
from birefnet_batch.storage import Output

SEGMENTS = MediaSettings(segment_frames=8)


class OneWorker:
    """As much of Ray as a driver with one worker asks of it; the worker says hello and nothing else."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.at_hello: Callable[[], None] = lambda: None

    def remote(self, **_: Any) -> Any:
        actor = SimpleNamespace(
            hello=SimpleNamespace(remote=lambda: "hello"),
            work=SimpleNamespace(remote=self._work),
            status=SimpleNamespace(options=lambda **_: SimpleNamespace(remote=object)),
            close=SimpleNamespace(remote=object),
        )
        return lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: actor))

    def _work(self, call: Call) -> str:
        self.calls.append(call)
        raise AssertionError("work was given out")

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return [reference for reference in references if reference == "hello"], []

    def get(self, _: Any) -> Hello:
        self.at_hello()
        return Hello("node", "host")

    def kill(self, actor: Any, no_restart: bool) -> None:
        pass


def media_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.glob("jobs/*/*.mp4")}


def test_the_bytes_are_those_of_the_local_executor_for_any_number_of_workers(
    on_ray: OnRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [
        make_clip(tmp_path / "meet_long.mp4", frames=20, audio=True, keyframes=8),
        make_clip(tmp_path / "short.mp4", frames=5),
    ]
    fields = {"output_mask": True}
    monkeypatch.setattr(engines, "open_engine", faults.open_trivial)
    settings = Settings(output=str(tmp_path / "local"), engine=EngineSettings(threads=1), media=SEGMENTS)
    run(settings, [request(clip, **fields) for clip in clips], progress=PlainProgress(2, (tmp_path / "log").open("w")))
    expected = media_of(tmp_path / "local")
    assert len(expected) == 4
    for workers in (1, 2):
        output = tmp_path / f"ray-{workers}"
        if workers == 2:
            (on_ray.faults / "meet").write_text("3")
        assert on_ray.run(output, *clips, fields=fields, workers=workers, media=SEGMENTS).succeeded == 2
        assert media_of(output) == expected
        assert not (output / ".scratch").exists()
    processes = {process for process, _ in on_ray.worked(clips[0])[3:]}
    assert len(processes) == 2, "segments of one video are done by several workers"
    assert any("workers busy" in line for line in on_ray.lines)
    summary = on_ray.run(output, *clips, fields=fields, workers=1, media=SEGMENTS)
    assert (summary.skipped, summary.succeeded) == (2, 0)


def test_a_run_that_lost_its_output_to_another_gives_out_no_more_work(tmp_path: Path) -> None:
    job = Job.from_request(request(make_clip(tmp_path / "clip.mp4", frames=3)))
    ray = OneWorker()
    cluster: Any = SimpleNamespace(
        grows=False,
        share=lambda: Share(cpus=1, gpus=0),
        nodes=lambda: [{"CPU": 1.0}],
        wanted=lambda share: 1,
        actor_environment=lambda: None,
    )
    with Output(str(tmp_path / "out"), "run") as output, (tmp_path / "log").open("w") as log:
        context = RunContext("run", Settings(output=str(tmp_path / "out")), output, {})
        outcomes = Driver(ray, cluster, context, PlainProgress(1, log)).run([job])
        lease: Any = output._lease
        ray.at_hello = lambda: setattr(lease, "_lost", "was taken over by another run")
        with pytest.raises(OutputError, match="was taken over by another run"):
            next(outcomes)
    assert ray.calls == []


def test_a_relative_scratch_folder_is_the_drivers_wherever_a_worker_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, node = tmp_path / "driver", tmp_path / "node"
    for folder in (driver, node):
        folder.mkdir()
    monkeypatch.chdir(driver)
    settings = Settings(output="out", storage=StorageSettings(scratch="tmp"))
    with Output("out", "run", settings.storage) as output:
        context = RunContext("run", absolute_paths(settings), output, {})
        sent = pickle.dumps(_for_workers(context))
        monkeypatch.chdir(node)
        with pickle.loads(sent).output.attach() as attached:
            assert attached.scratch == driver / "tmp" / "run"
            assert attached.shared_parts == output.shared_parts
    assert not list(node.iterdir())


@pytest.mark.slow
def test_a_cluster_without_room_says_what_it_lacks_and_the_first_node_that_has_it_is_used(
    on_ray: OnRay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "short.mp4", frames=5)
    made = []
    work = lambda: made.append(  # noqa: E731
        on_ray.run(tmp_path / "out", clip, workers=None, executor={"resources": {"fast_disk": 1.0}})
    )
    thread = threading.Thread(target=work)
    node = None
    with caplog.at_level(logging.WARNING):
        thread.start()
        try:
            end = time.monotonic() + 100
            while not on_ray.lines and time.monotonic() < end:
                time.sleep(0.1)
            assert "0 of 0 workers busy, 1 waiting" in on_ray.lines[0]
            assert "left" not in on_ray.lines[0]
            assert "1 CPU, 1 fast_disk" in caplog.text
            node = on_ray.cluster.add_node(num_cpus=1, resources={"fast_disk": 1.0})
            thread.join(200)
        finally:
            if node is not None:
                on_ray.cluster.remove_node(node)
    assert made
    assert made[0].succeeded == 1
