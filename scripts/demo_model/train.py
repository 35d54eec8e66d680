"""Trains the demo model within a budget of time; resumable; on a CPU in processes of one thread each.

Every validation writes over the weights that the package ships (birefnet_batch/models/demo/demo.safetensors).

Two one-thread processes train about twice as fast as one process with two threads, so that gradients are
averaged between processes even on one machine. On an idle machine a process' CPU time is the wall clock's; on a busy
one the training takes longer and comes to the same.
"""

from __future__ import annotations

import argparse
import copy
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from safetensors.torch import load_file
from torch import nn

from birefnet_batch.models import build_network
from demo_model.batches import Batches, BatchRecipe
from demo_model.composites import Library
from demo_model.losses import total_loss
from demo_model.paths import CHECKPOINT, WEIGHTS
from demo_model.schedule import FROZEN_FROM, PEAK_RATE, RESTART, patterns_at, rate_at, restyled_at, side_at
from demo_model.scoring import evaluate, held_out_frames
from demo_model.weights import export, normalised, norms_of, recalibrate

CLIP = 5.0
REPORT_SECONDS = 30
EMA = 0.998
VARIED = 0.3  # of backgrounds: turned or in other colours, for there are few photographs
PIXELS = 8 * 128 * 128  # one process' batch: 8 at 128, 2 at 256, 1 at 512


def _average_gradients(network: nn.Module, world: int) -> None:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def _save(path: Path, state: dict[str, object]) -> None:
    scratch = path.with_suffix(".part")
    torch.save(state, scratch)
    scratch.replace(path)


def work(rank: int, world: int, options: argparse.Namespace) -> None:
    """Train in one process of `world`."""
    torch.set_num_threads(1)
    # Gradients hold many numbers near zero, with which a processor computes many times slower.
    torch.set_flush_denormal(True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{options.rendezvous}", rank=rank, world_size=world)
    torch.manual_seed(7)
    network = build_network("demo").to(device).train()
    if options.from_shipped:
        network.load_state_dict(load_file(WEIGHTS))
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.01, fused=True)
    budget = options.minutes * 60
    step, spent, seen = 0, RESTART * budget if options.from_shipped else 0.0, 0
    if CHECKPOINT.exists() and not options.fresh:
        state = torch.load(CHECKPOINT, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, seen = state["step"], state["spent"], state["seen"]
        if rank == 0:
            print(f"resuming at step {step}, {spent / 60:.1f} minutes in", flush=True)
    library = Library("train")
    # Read from the file at each use, subjects cost a tenth of the training wherever the system forgets what it read.
    library.pictures = np.array(library.pictures)
    library.varied = VARIED
    batches = Batches(library, [9, rank, step], processes=(os.cpu_count() or 1) if device == "cuda" else 0)
    draws = np.random.default_rng([5, step])
    validation = list(held_out_frames(24, seed=77)) if rank == 0 else []
    # A GPU's work is not the process' own.
    now = time.monotonic if device == "cuda" else time.process_time
    # What a GPU's first batch waits for, the making of the processes, is no part of the budget.
    done = spent / budget
    scale = 16 if device == "cuda" else 1
    batches.begin(BatchRecipe(128, round(PIXELS * scale / 128**2), restyled_at(done), patterns_at(done)))
    began = now() - spent
    reported, saved, validated, losses = step, time.monotonic(), spent, []
    # What was loaded brings the statistics that it was trained with.
    frozen = spent >= FROZEN_FROM * budget
    told = time.monotonic()
    while True:
        # All processes must agree on the size, the rate and the end: the first one's clock counts.
        clock = torch.tensor([now() - began])
        if world > 1:
            dist.broadcast(clock, 0)
        elapsed = float(clock)
        done = elapsed / budget
        if done >= 1:
            break
        side = side_at(done, draws.random())
        if done >= FROZEN_FROM and not frozen:
            # Statistics of one or two large pictures are noise: from here on they stand still.
            recalibrate(network, library, device)
            averaged.load_state_dict(
                {
                    name: value if "running" not in name else network.state_dict()[name]
                    for name, value in averaged.state_dict().items()
                }
            )
            frozen = True
        network.train()
        if frozen:
            for norm in norms_of(network):
                norm.eval()
        for group in optimiser.param_groups:
            group["lr"] = rate_at(done, step)
        smallest = 1 if frozen else 2  # a norm of one is none
        count = max(smallest, round(PIXELS * scale / side**2))
        images, alphas = batches.take(BatchRecipe(side, count, restyled_at(done), patterns_at(done)), device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits, auxiliary = network.forward_with_auxiliary(normalised(images))
        loss = total_loss(logits.float(), auxiliary, alphas, images)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            _average_gradients(network, world)
        # Before they reach the weights, and what is shipped: the same command goes on from the checkpoint.
        nn.utils.clip_grad_norm_(network.parameters(), CLIP, error_if_nonfinite=True)
        optimiser.step()
        step, seen = step + 1, seen + len(images) * world
        keep = min(EMA, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, new in zip(averaged.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)
            for kept, new in zip(averaged.buffers(), network.buffers(), strict=True):
                kept.copy_(new)
        losses.append(float(loss.detach()))
        if rank:
            continue
        # By time too: a slow machine's first hundred steps take minutes.
        if step - reported >= 100 or time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            print(
                f"step {step} minutes {elapsed / 60:.1f} side {side} samples {seen} "
                f"loss {np.mean(losses):.3f} rate {optimiser.param_groups[0]['lr']:.2e}",
                flush=True,
            )
            reported, losses = step, []
        if time.monotonic() - saved > 60:
            saved = time.monotonic()
            _save(CHECKPOINT, _state(network, averaged, optimiser, step, elapsed, seen))
        if elapsed - validated > options.validate_every * 60:
            _judge(averaged, library, device, validation, frozen)
            validated = elapsed
    batches.close()
    if rank == 0:
        _judge(averaged, library, device, validation, frozen or done >= FROZEN_FROM)
        _save(CHECKPOINT, _state(network, averaged, optimiser, step, budget, seen))
        print(f"done: {step} steps, {seen} samples", flush=True)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def _state(network, averaged, optimiser, step, spent, seen) -> dict[str, object]:
    return {
        "network": network.state_dict(),
        "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "spent": spent,
        "seen": seen,
    }


def _judge(averaged: nn.Module, library: Library, device: str, validation: list, frozen: bool) -> None:
    judged = copy.deepcopy(averaged)
    if not frozen:
        # Statistics that stood still are those that the weights were trained with.
        recalibrate(judged, library, device)
    scores = evaluate(judged, validation, device)
    print(f"validation {scores}", flush=True)
    # The newest, never the best on these frames: they are held out, and choosing by them would be training on them.
    export(judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=110, help="a process' CPU time for all of it; on a GPU, time")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--validate-every", type=float, default=30, help="CPU minutes")
    parser.add_argument(
        "--from-shipped", action="store_true", help="begin at the second cosine, with the shipped weights"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the checkpoint")
    options = parser.parse_args()
    if CHECKPOINT.exists() and not options.fresh:
        if options.from_shipped:
            parser.error(f"{CHECKPOINT} would be gone on from: give --fresh to begin with the shipped weights")
        spent = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)["spent"] / 60
        if spent >= options.minutes:
            parser.error(f"{CHECKPOINT} has been trained for {spent:.0f} minutes: give more --minutes, or --fresh")
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="train_demo-") as folder:
        options.rendezvous = Path(folder) / "rendezvous"
        _run(options)


def _run(options: argparse.Namespace) -> None:
    world = 1 if torch.cuda.is_available() else options.processes
    if world == 1:
        work(0, 1, options)
        return
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    workers = multiprocessing.spawn(work, (world, options), nprocs=world, join=False, daemon=True)
    ended = False
    while not ended:
        try:
            ended = workers.join(timeout=1)
        except multiprocessing.ProcessExitedException:
            # A whole group of processes may have been stopped.
            if not stopped.is_set():
                raise
        if stopped.is_set():
            sys.exit(143)  # daemons end with their parent


if __name__ == "__main__":
    main()
