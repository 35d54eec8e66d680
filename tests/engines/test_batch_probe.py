"""The batch is the quickest that fits, measured once."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from birefnet_batch.engines import batch_probe, selection
from birefnet_batch.engines.batch_probe import Measured, measure_in_child, probed_batch
from birefnet_batch.engines.made_here import made_here
from birefnet_batch.engines.measured_once import measured_once
from birefnet_batch.errors import EngineError, EngineMemoryError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights

GIB = 2**30
DEMO = find_model("demo")


def machine(seconds: dict[int, float], tried: list[int], holds: int = 64):
    def measure(batch: int) -> Measured:
        tried.append(batch)
        if batch > holds:
            raise EngineMemoryError("out of memory")
        return Measured(batch, batch * GIB, seconds[batch])

    return measure


@pytest.mark.parametrize(
    ("budget", "holds", "best"), [(5, 64, 4), (100, 2, 2), (100, 64, 4)], ids=["budget", "memory ends", "no more gain"]
)
def test_the_quickest_batch_that_fits_is_taken_and_kept(tmp_path, budget, holds, best):
    seconds = {1: 1.0, 2: 0.7, 4: 0.5, 8: 0.5}
    tried: list[int] = []
    assert probed_batch(tmp_path, {"model": "demo"}, budget * GIB, machine(seconds, tried, holds)) == best
    count = len(tried)
    assert probed_batch(tmp_path, {"model": "demo"}, budget * GIB, machine(seconds, tried, holds)) == best
    assert len(tried) == count
    (kept,) = (tmp_path / "batch").glob("*.json")
    assert json.loads(kept.read_text())["batch"] == best


@pytest.mark.parametrize(
    "damaged",
    [*({"batch": batch} for batch in (-3, 0, 65, 100_000, True, 2.0, "2", None)), {"free_bytes": "x"}],
    ids=str,
)
def test_a_kept_batch_that_no_trial_gives_is_measured_again(tmp_path, damaged):
    seconds = {1: 1.0, 2: 0.7, 4: 0.7}
    assert probed_batch(tmp_path, {"model": "demo"}, 100 * GIB, machine(seconds, [])) == 2
    (kept,) = (tmp_path / "batch").glob("*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), **damaged}))
    tried: list[int] = []
    assert probed_batch(tmp_path, {"model": "demo"}, 100 * GIB, machine(seconds, tried)) == 2
    assert tried == [1, 2, 4]
    assert json.loads(kept.read_text())["batch"] == 2


def test_what_other_engines_left_no_memory_for_is_measured_again_when_they_are_gone(tmp_path):
    seconds = {1: 1.0, 2: 0.7, 4: 0.5, 8: 0.5}

    def taken(holds: int, free: int) -> tuple[int, list[int]]:
        tried: list[int] = []
        measure = machine(seconds, tried, holds)
        return probed_batch(tmp_path, {"model": "demo"}, 100 * GIB, measure, free * GIB), tried

    assert taken(holds=2, free=3) == (2, [1, 2, 4])
    assert taken(holds=2, free=3) == (2, [])
    assert taken(holds=64, free=40) == (4, [1, 2, 4, 8])
    assert taken(holds=64, free=80) == (4, [])


def test_a_store_that_cannot_be_written_costs_only_what_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    tried: list[int] = []
    seconds = {1: 1.0, 2: 0.7, 4: 0.5}
    assert probed_batch(tmp_path / "file" / "store", {"model": "demo"}, 2 * GIB, machine(seconds, tried)) == 2
    assert tried == [1, 2, 4]


def test_another_budget_is_measured_again(tmp_path):
    tried: list[int] = []
    seconds = {1: 1.0, 2: 0.5, 4: 0.3}
    assert probed_batch(tmp_path, {"model": "demo"}, 1 * GIB, machine(seconds, tried)) == 1
    assert probed_batch(tmp_path, {"model": "demo"}, 2 * GIB, machine(seconds, tried)) == 2


@pytest.mark.parametrize(("budget", "holds"), [(0.5, 64), (10, 0)])
def test_a_frame_that_does_not_fit_is_an_error(tmp_path, budget, holds):
    with pytest.raises(EngineError, match="a single frame"):
        probed_batch(tmp_path, {"model": "demo"}, int(budget * GIB), machine({1: 1.0}, [], holds))


def test_a_real_engine_is_measured_in_a_process_of_its_own():
    arguments = {"name": "torch", "model": DEMO, "weights": locate_weights(DEMO), "width": 64, "height": 64}
    found = measure_in_child({**arguments, "device": "cpu", "threads": 1}, 1)
    assert found.batch == 1
    assert found.peak_bytes > 100e6
    assert found.frame_seconds > 0


def test_what_the_process_that_starts_another_once_held_is_not_the_others_memory():
    held = bytearray(b"x") * (400 << 20)
    program = "from birefnet_batch.engines.memory import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(done.stdout) < len(held)


class InThisProcess(ThreadPoolExecutor):
    def __init__(self, count, mp_context):
        super().__init__(count)


@pytest.mark.parametrize("measures", [False, True])
def test_what_building_or_measuring_first_takes_is_not_what_running_takes(tmp_path, monkeypatch, measures):
    peaks = [5 * GIB, 1 * GIB]

    @contextmanager
    def opened(**_):
        if measures:
            measured_once(tmp_path, "precision", "demo", "bf16 of demo", dict, dict)
        elif len(peaks) == 2:
            made_here["engine"] += 1
        spec = SimpleNamespace(height=4, width=4, device="cpu")
        yield SimpleNamespace(spec=spec, device="cpu", infer=lambda images: images)

    monkeypatch.setattr(batch_probe, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(batch_probe, "peak_bytes", lambda: peaks.pop(0))
    monkeypatch.setattr(selection, "open_engine", opened)
    assert measure_in_child({"device": "cpu"}, 1).peak_bytes == 1 * GIB
    assert peaks == []


def test_what_cuda_takes_for_a_process_belongs_to_its_memory(monkeypatch):
    card = {"free": 10 * GIB}

    class Process(InThisProcess):
        """Takes memory of the card as soon as it asks for anything there, and gives it back when it ends."""

        def submit(self, work, *arguments):
            def begun():
                card["free"] -= GIB // 2
                return work(*arguments)

            return super().submit(begun)

    @contextmanager
    def opened(**_):
        card["free"] -= 2 * GIB
        spec = SimpleNamespace(height=4, width=4, device="cuda")
        yield SimpleNamespace(spec=spec, device="cpu", infer=lambda images: images)

    monkeypatch.setattr(batch_probe, "ProcessPoolExecutor", Process)
    monkeypatch.setattr(selection, "open_engine", opened)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (card["free"], 10 * GIB))
    assert measure_in_child({"device": "auto"}, 1).peak_bytes == 2.5 * GIB
