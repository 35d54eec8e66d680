"""Triton's kernels by themselves, beside what they stand for; the deformable one in ways that it can be launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F

from gpu_checks.table import Table, seconds_of

# Of the network's kernels; the last takes most of the time.
SIDES = (1, 3, 7)
# Channels of swin_v1_l's stages, and how many times smaller than the image their maps are.
WIDTHS = ((192, 4), (384, 8), (768, 16), (1536, 32))
# Whose tokens are worked on: what a batch leaves in a cache is theirs, too.
IMAGES = 8
# Calls that are timed together.
CALLS = 20
# What the projecting kernel's launch might have been given: pixels of a program, warps, stages.
LAUNCHES = ((64, 16, 2), (64, 16, 1), (64, 16, 3), (64, 8, 2), (64, 8, 1), (32, 8, 2), (32, 8, 1), (128, 16, 2))


class Launched:
    """A kernel of triton's, launched with options in place of those that its caller gives.

    Args:
        kernel: triton's.
        options: num_warps and others that a launch takes.
    """

    def __init__(self, kernel: Any, **options: int) -> None:
        self._kernel = kernel
        self._options = options
        self.compiled: Any = None
        """What triton made of it; None before the first launch, and in its interpreter."""

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        def launch(*arguments: Any, **given: Any) -> Any:
            self.compiled = self._kernel[grid](*arguments, **{**given, **self._options})
            return self.compiled

        return launch


def triton_checks(table: Table) -> None:
    """Each size of the deformable kernels beside plain torch, passes over tokens, and each of `LAUNCHES`."""
    for side in SIDES:
        table.tried(f"triton {side}x{side} against plain torch", lambda side=side: _beside_plain(table, side))
    for channels, shrink in WIDTHS:
        table.tried(f"tokens of {channels}", lambda c=channels, s=shrink: _passes_beside_plain(table, c, s))
    for launch in LAUNCHES:
        table.tried(_name(*launch), lambda launch=launch: _as_launched(table, *launch))


def _seconds(run: Callable[[], Any], table: Table) -> float:
    """Seconds of a call among others of a graph: by itself a kernel is quicker than what launches it."""
    if table.options.device != "cuda":
        return seconds_of(run, table.options)
    from birefnet_batch.engines.cuda_graph import capture

    graph = capture(lambda: [run() for _ in range(CALLS)])
    return seconds_of(graph.replay, table.options) / CALLS


def _name(pixels: int, warps: int, stages: int) -> str:
    return f"projected {SIDES[-1]}x{SIDES[-1]}: {pixels} pixels, {warps} warps, {stages} stages"


def _beside_plain(table: Table, side: int) -> None:
    from birefnet_batch.engines.triton_deformable import triton_convolution
    from birefnet_batch.models.deformable import grid_sample_convolution, table_convolution

    arguments, wanted = _case(table, side)
    error = (triton_convolution(*arguments).float() - wanted).abs().max()
    times = [
        _seconds(lambda form=form: form(*arguments), table)
        for form in (triton_convolution, table_convolution, grid_sample_convolution)
    ]
    speed = " / ".join(f"{1e3 * value:.2f}" for value in times)
    table.add(f"deformable {side}x{side}: triton/table/grid, ms", "2", speed, f"max {float(error):.1e}", "")
    error, together = _projected(table, arguments, wanted)
    head = _head_of(table)

    def apart() -> torch.Tensor:
        return triton_convolution(*arguments).permute(0, 2, 3, 1).reshape(-1, len(wanted[0])).relu_() @ head.T

    speed = f"{1e3 * together:.2f} / {1e3 * _seconds(apart, table):.2f}"
    table.add(f"projected {side}x{side}: in the kernel/behind it, ms", "2", speed, f"max {error:.1e}", "")


def _head_of(table: Table) -> torch.Tensor:
    generator = torch.Generator(table.options.device).manual_seed(1)
    return torch.randn(64, 256, device=table.options.device, generator=generator).half() / 16


def _projected(table: Table, arguments: tuple[torch.Tensor, ...], wanted: torch.Tensor) -> tuple[float, float]:
    """The error of the projecting kernel beside plain operations, and its seconds."""
    from birefnet_batch.engines import triton_deformable as ours
    from birefnet_batch.models.deformable import weight_rows

    head = _head_of(table)
    image, offset, modulation, weight = arguments
    bias = torch.zeros(len(weight), dtype=weight.dtype, device=weight.device)
    plan = (image, offset, modulation, weight_rows(weight).T.contiguous(), bias, head)
    rows = wanted.permute(0, 2, 3, 1).reshape(-1, len(weight)).relu() @ head.float().T
    total = torch.zeros_like(rows, dtype=weight.dtype)
    ours.triton_projection(total, *plan)
    error = float((total.float() - rows).abs().max())
    return error, _seconds(lambda: ours.triton_projection(total, *plan), table)


def _passes_beside_plain(table: Table, channels: int, shrink: int) -> None:
    """Tokens of some images gathered into shifted windows and normalised, and added and normalised, in fp16."""
    from birefnet_batch.engines.triton_tokens import add_normalised, gather_normalised
    from birefnet_batch.models.windows import plan_rows

    device, side = table.options.device, max(1, table.options.size // shrink)
    generator = torch.Generator(device).manual_seed(0)
    rows = plan_rows(IMAGES, side, side, 12, 6, torch.device(device))
    norm = torch.nn.LayerNorm(channels).to(device).half()
    tokens, mixed = (
        torch.randn(count, channels, device=device, generator=generator).half()
        for count in (len(rows.back), len(rows.source))
    )
    source, padding, back = rows.source.clamp(min=0).long(), (rows.source < 0).nonzero().flatten(), rows.back.long()
    forms: dict[str, tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor], int]] = {
        "gathered": (
            lambda: gather_normalised(tokens, rows.source, norm),
            lambda: norm(F.embedding(source, tokens)).index_fill_(0, padding, 0),
            2 * mixed.numel(),
        ),
        "added": (
            lambda: add_normalised(tokens, mixed, rows.back, norm, norm.bias)[1],
            lambda: norm(tokens + F.embedding(back, mixed)),
            4 * tokens.numel(),
        ),
    }
    for name, (ours, plain, values) in forms.items():
        with torch.inference_mode():
            error = float((ours() - plain()).float().abs().max())
            times = [_seconds(form, table) for form in (ours, plain)]
        speed = " / ".join(f"{1e3 * value:.3f}" for value in times)
        rate = f"{2e-12 * values / times[0]:.2f} TB/s"
        table.add(f"tokens of {channels} {name}: triton/plain, ms", str(IMAGES), speed, f"max {error:.1e}, {rate}", "")


def _as_launched(table: Table, pixels: int, warps: int, stages: int) -> None:
    from birefnet_batch.engines import triton_deformable as ours

    launched = Launched(ours._projecting_kernel, num_warps=warps, num_stages=stages)
    with patch.object(ours, "_projecting_kernel", launched), patch.object(ours, "_PIXELS", pixels):
        error, seconds = _projected(table, *_case(table, SIDES[-1]))
    made = launched.compiled
    facts = "" if made is None else f", {made.n_regs} registers, {made.n_spills} spilled"
    shared = "" if made is None else f"{made.metadata.shared / 1024:.0f} KiB"
    table.add(_name(pixels, warps, stages), "2", f"{1e3 * seconds:.2f} ms", f"max {error:.1e}{facts}", shared)


def _case(table: Table, side: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Arguments of a convolution as the network has it, in fp16, and its result in float32 by plain operations."""
    from birefnet_batch.models.deformable import grid_sample_convolution

    size, taps, device = table.options.size // 4, side**2, table.options.device
    generator = torch.Generator(device).manual_seed(0)
    # Two images: the second is read and written elsewhere. All are laid out as in the network.
    shapes = ((2, 64, size, size), (2, 3 * taps + -3 * taps % 8, size, size), (256, 64, side, side))
    x, planned, weight = (
        torch.randn(shape, device=device, generator=generator).half().contiguous(memory_format=torch.channels_last)
        for shape in shapes
    )
    arguments = (x, planned[:, : 2 * taps], planned[:, 2 * taps : 3 * taps].sigmoid(), weight / (8 * side))
    return arguments, grid_sample_convolution(*(value.float() for value in arguments))
