"""The table of `scripts/gpu_check`, and how one of its rows is measured."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Table:
    """Rows as they come, and once more together at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: list[tuple[str, str, str, str, str]] = []
        self.baseline: float | None = None

    def add(self, name: str, batch: str, speed: str, error: str, memory: str) -> None:
        self.rows.append((name, batch, speed, error, memory))
        print(f"{name:44} {batch:>5} {speed:>24} {error:>26} {memory:>9}", flush=True)

    def tried(self, name: str, check: Callable[[], None]) -> None:
        """Run one check; whatever goes wrong is its row."""
        try:
            check()
        except Exception as error:
            self.add(name, "", "left out", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "")
        if self.options.device == "cuda":
            torch.cuda.empty_cache()


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(run: Callable[[], Any], options: argparse.Namespace) -> float:
    """Seconds a call, after a warm-up: the mean over --seconds."""
    for _ in range(2):
        run()
    synchronize(options.device)
    started, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - started < options.seconds:
        run()
        calls += 1
        synchronize(options.device)
    return (time.perf_counter() - started) / calls


def network_of(options: argparse.Namespace, precision: str) -> torch.nn.Module:
    from reference.fill import fill

    from birefnet_batch.models import build_network

    built = build_network(options.network)
    state = {
        name: torch.from_numpy(fill(name, tuple(value.shape))) if value.is_floating_point() else value
        for name, value in built.state_dict().items()
    }
    built.load_state_dict(state)
    return built.eval().to(options.device, DTYPES[precision])


def images_of(options: argparse.Namespace, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, options.size, options.size, generator=generator).to(options.device)


def measure(table: Table, name: str, batch: int, run: Callable[[torch.Tensor], torch.Tensor], wanted: Any) -> None:
    """Speed, the matte's error, and the peak of torch's memory, of one engine at one batch."""
    options = table.options
    images = images_of(options, batch)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    error = (run(images)[:1].float().sigmoid().cpu() - wanted).abs()
    seconds = seconds_of(lambda: run(images), options)
    rate = batch / seconds
    table.baseline = table.baseline or rate
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if options.device == "cuda" else ""
    values = error.flatten()
    tail = values.kthvalue(max(1, int(0.999 * values.numel()))).values
    table.add(
        *(name, str(batch), f"{rate:.2f} frames/s ({rate / table.baseline:.2f}x)"),
        *(f"mean {float(error.mean()):.1e}, p99.9 {float(tail):.1e}", memory),
    )
