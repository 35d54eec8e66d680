"""Seconds a frame, GFLOP/s and peak memory of engines and precisions, for one model at one resolution.

    .venv/bin/python scripts/bench_model.py [--model heavy] [--resolution 1024x1024]
        [--engines plain,plain:kept,torch:fp32,torch:bf16] [--rounds 5] [--threads 2] [--weights FILE]

`plain` is the network written straight from its definition (plain_birefnet.py) in float32, in a process like any
other: the baseline. `plain:kept` is the same in a process that keeps freed memory (process_tuning.keep_freed_memory),
as all processes of engines do: against it shows what the network's own code gives. Every other entry is an engine.name
and an engine.precision; torch:fp32:packing is torch without the lever `packing`, to see what it gives (the levers are
in network_levers.py). Each runs in a process of its own, and they take turns frame by frame, so that drift of the
machine cancels; the figures are medians, and ratios are to each plain entry, or to the first entry where there is none.
Without --weights the weights are the deterministic ones of tests/reference.

CPU seconds are what the process used on all processors, and of these the calling thread's own; they tell more than the
clock on a machine that others use. Threads that wait for each other spin, which counts: set OMP_WAIT_POLICY=PASSIVE to
have work alone counted. The calling thread's seconds are then what a frame would take with the machine to oneself.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
PLAIN = {"plain": "plain", "plain:kept": "plain, memory kept"}


def size_of(resolution: str) -> tuple[int, int]:
    """WIDTHxHEIGHT as (width, height)."""
    width, height = map(int, resolution.split("x"))
    return width, height


def write_weights(network: str, path: Path) -> None:
    """Save the deterministic weights of the reference data."""
    import torch
    from reference.fill import fill
    from safetensors.torch import save_file

    from birefnet_batch.models import build_network

    state = build_network(network).state_dict()
    save_file(
        {
            name: torch.from_numpy(fill(name, tuple(value.shape))) if value.is_floating_point() else value
            for name, value in state.items()
        },
        path,
    )


def count_gflop(network: str, width: int, height: int) -> float:
    """What one frame costs by the network's definition, multiplications and additions, whatever an engine saves."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from birefnet_batch.models import build_network
    from birefnet_batch.models.deformable import grid_sample_convolution, set_operator

    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        if network == "demo":
            module = build_network(network).eval()
            set_operator(module, grid_sample_convolution)
        else:
            from plain_birefnet import PlainBiRefNet

            module = PlainBiRefNet(network).eval()
        module(torch.empty(1, 3, height, width))
    return counter.get_total_flops() / 1e9


def work(engine: str, model_name: str, resolution: str, weights: str, threads: int, device: str) -> None:
    """Open one engine, then run a frame for each line on standard input."""
    import torch
    from network_levers import LEVERS
    from reference.fill import golden_input
    from safetensors.torch import load_file

    from birefnet_batch.engines import open_engine
    from birefnet_batch.models.registry import find_model
    from birefnet_batch.models.weights import WeightsFile
    from birefnet_batch.process_tuning import keep_freed_memory

    torch.set_num_threads(threads)
    model, (width, height) = find_model(model_name), size_of(resolution)
    image = torch.from_numpy(golden_input(1, height, width))
    name, _, rest = engine.partition(":")
    if engine != "plain":
        # As our programs do; to the baseline, memory is what it is to any program.
        keep_freed_memory()
    if name == "plain":
        from plain_birefnet import PlainBiRefNet

        network = PlainBiRefNet(model.network).eval()
        network.load_state_dict(load_file(weights))
        serve(lambda: network(image))
        return
    precision, *levers = rest.split(":")
    for lever in levers:
        LEVERS[lever]()
    opened = open_engine(
        name,
        model=model,
        weights=WeightsFile(Path(weights), "0" * 64, weights),
        width=width,
        height=height,
        device=device,
        precision=precision,
        threads=threads,
    )
    with opened:
        image = image.to(opened.device)
        serve(lambda: opened.infer(image).cpu())


def serve(run: Any) -> None:
    """Answer each line with wall seconds, CPU seconds, those of this thread, and the peak memory in MiB so far."""
    import torch

    from birefnet_batch.engines.memory import peak_bytes

    with torch.inference_mode():
        for _ in sys.stdin:
            clocks = (time.perf_counter, time.process_time, time.thread_time)
            before = [clock() for clock in clocks]
            run()
            taken = [clock() - started for clock, started in zip(clocks, before, strict=True)]
            print("took", *taken, peak_bytes() / 2**20, flush=True)


def ask(process: subprocess.Popen[str]) -> tuple[float, ...]:
    """Let a worker run one frame."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("took "):
            return tuple(map(float, line.split()[1:]))
    sys.exit(f"{process.args[4]} failed with status {process.wait()}; what it said is above")  # type: ignore[index]


def main() -> None:
    """Print a line per engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="heavy", help="short name of a model")
    parser.add_argument("--resolution", default="1024x1024", help="WIDTHxHEIGHT")
    parser.add_argument(
        "--engines",
        default="plain,plain:kept,torch:fp32,torch:bf16",
        help="plain, plain:kept, NAME:PRECISION, NAME:PRECISION:LEVER",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the engines")
    parser.add_argument("--weights", help="a safetensors file")
    options = parser.parse_args()

    import torch

    from birefnet_batch.models.registry import find_model

    network = find_model(options.model).network
    engines = [engine for engine in options.engines.split(",") if network != "demo" or engine not in PLAIN]
    gflop = count_gflop(network, *size_of(options.resolution))
    print(f"{options.model} ({network}) at {options.resolution}: {gflop:.0f} GFLOP a frame; {options.threads} threads")
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(options.weights or folder) / ("" if options.weights else "filled.safetensors")
        if not options.weights:
            write_weights(network, weights)
        settings = (options.model, options.resolution, str(weights), str(options.threads), options.device)
        program = f"import sys; sys.path[:0] = [{str(ROOT / 'scripts')!r}]; import bench_model; "
        program += "a = sys.argv[1:]; bench_model.work(*a[:4], int(a[4]), a[5])"
        workers = {
            engine: subprocess.Popen(
                [sys.executable, "-u", "-c", program, engine, *settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for engine in engines
        }
        found: dict[str, list[tuple[float, ...]]] = {engine: [] for engine in engines}
        try:
            for turn in range(options.rounds + 1):
                for engine, process in workers.items():
                    taken = ask(process)
                    if turn:
                        found[engine].append(taken)
        finally:
            for process in workers.values():
                process.kill()
                process.wait()
    columns = {engine: [median(column) for column in zip(*rows, strict=True)] for engine, rows in found.items()}
    bases = [engine for engine in engines if engine in PLAIN] or engines[:1]
    print(f"ratios in brackets: to {' and to '.join(PLAIN.get(base, base) for base in bases)}")
    for engine, (wall, cpu, own, peak) in columns.items():
        to_wall, to_cpu, to_own = (
            ", ".join(f"{columns[engine][index] / columns[base][index]:.2f}" for base in bases) for index in range(3)
        )
        print(
            f"{PLAIN.get(engine, engine):24} {wall:6.2f} s a frame ({to_wall}), {gflop / wall:5.0f} GFLOP/s; "
            f"CPU {cpu:5.2f} s ({to_cpu}), calling thread {own:5.2f} s ({to_own}); peak {peak:.0f} MiB"
        )


if __name__ == "__main__":
    main()
