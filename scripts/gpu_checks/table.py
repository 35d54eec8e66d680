"""The table of `scripts/gpu_check`, and how one of its rows is measured."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BASELINE = "torch eager, plain (the baseline)"
_GIB = 2**30


class Table:
    """Rows as they come; they are kept in a folder, for each group has a process of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.scratch: Path = options.scratch

    @classmethod
    def of(cls, scratch: Path) -> Table:
        """The table of a folder, to add rows to."""
        return cls(argparse.Namespace(scratch=scratch))

    def add(self, name: str, batch: str, speed: str, error: str, memory: str) -> None:
        with (self.scratch / "rows.jsonl").open("a") as file:
            print(json.dumps((name, batch, speed, error, memory)), file=file)
        print(f"{name:44} {batch:>5} {speed:>24} {error:>26} {memory:>9}", flush=True)

    def tried(self, name: str, check: Callable[[], None]) -> None:
        """Run one check; whatever goes wrong is its row."""
        try:
            if self.options.device == "cuda":
                torch.cuda.empty_cache()
            check()
        except Exception as error:
            self.add(name, "", "left out", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "")

    def beside_baseline(self, name: str, batch: int, rate: float) -> str:
        """How many times the baseline's frames a second at this batch; no other row takes the place of one that failed.

        Args:
            name: of the row; `BASELINE` is kept for the others.
            batch: frames.
            rate: frames a second.
        """
        path = self.scratch / f"baseline-{batch}"
        if name == BASELINE:
            path.write_text(str(rate))
        return f"{rate / float(path.read_text()):.2f}x" if path.is_file() else "no baseline"


def read_rows(scratch: Path) -> list[list[str]]:
    path = scratch / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


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


def network_of(table: Table, precision: str) -> torch.nn.Module:
    """The network with the deterministic weights, which are made once."""
    from reference.fill import fill

    from birefnet_batch.models import build_network

    options, kept = table.options, table.scratch / "state.pt"
    if not kept.is_file():
        named = build_network(options.network).state_dict().items()
        made = {
            name: torch.from_numpy(fill(name, tuple(value.shape))) if value.is_floating_point() else value
            for name, value in named
        }
        _save(made, kept)
    # Weights drawn at random would cost each row a second.
    with torch.device("meta"):
        built = build_network(options.network)
    built.load_state_dict(torch.load(kept, weights_only=True), assign=True)
    return built.eval().to(options.device, DTYPES[precision])


def _save(what: Any, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(what, partial)
    partial.replace(path)


def images_of(options: argparse.Namespace, batch: int) -> torch.Tensor:
    """The first images of one row of them: each has its place in every batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(max(batch, *options.batches), 3, options.size, options.size, generator=generator)
    return images[:batch].to(options.device)


def reference(table: Table, batch: int) -> torch.Tensor:
    """Each image's matte by torch in float32, computed once, one by one: what goes wrong in batches alone shows."""
    from birefnet_batch.process_tuning import exact_float32

    kept = table.scratch / "mattes.pt"
    if not kept.is_file():
        exact_float32()
        network, images = network_of(table, "fp32"), images_of(table.options, max(table.options.batches))
        with torch.inference_mode():
            _save(torch.cat([network(image[None]).sigmoid().cpu() for image in images]), kept)
    wanted: torch.Tensor = torch.load(kept, weights_only=True)
    return wanted[:batch]


def measure(table: Table, name: str, batch: int, make: Callable[[], Callable[[torch.Tensor], torch.Tensor]]) -> None:
    """Speed, the error of the batch's worst matte, and the memory of what `make` gives, at one batch."""
    options, wanted = table.options, reference(table, batch)
    images = images_of(options, batch)
    before = 0
    if options.device == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.mem_get_info()[0]
    run = make()
    errors = (run(images).float().sigmoid().cpu() - wanted).abs().flatten(1)
    # Of NaN, too.
    error = errors[errors.mean(dim=1).argmax()]
    seconds = seconds_of(lambda: run(images), options)
    memory = f"{(before - torch.cuda.mem_get_info()[0]) / _GIB:.1f} GiB" if options.device == "cuda" else ""
    rate = batch / seconds
    tail = error.kthvalue(max(1, int(0.999 * error.numel()))).values
    table.add(
        *(name, str(batch), f"{rate:.2f} frames/s ({table.beside_baseline(name, batch, rate)})"),
        *(f"mean {float(error.mean()):.1e}, p99.9 {float(tail):.1e}", memory),
    )
