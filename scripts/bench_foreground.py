"""Milliseconds a frame of foreground estimation: compiled, and as array operations.

    .venv/bin/python scripts/bench_foreground.py [--width 1920] [--height 1080] [--rounds 7]

The forms take turns; the figures are medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from birefnet_batch.matting import estimate_foreground
from birefnet_batch.matting.foreground import estimate_by_arrays


def main() -> None:
    """Print a line per form and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    size = (options.height, options.width)
    draw = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 60, 80, generator=draw), size=size, mode="bilinear").contiguous()
    matte = F.interpolate(torch.rand(1, 1, 12, 16, generator=draw), size=size, mode="bilinear")
    matte = (matte * 6 - 2.5).clamp(0, 1).contiguous()
    forms: dict[str, Callable[[], torch.Tensor]] = {
        "compiled": lambda: estimate_foreground(image, matte),
        "array operations": lambda: estimate_by_arrays(image, matte),
    }
    seconds: dict[tuple[str, int], list[float]] = {}
    most = torch.get_num_threads()
    for turn in range(options.rounds + 1):
        for threads in sorted({1, most}):
            torch.set_num_threads(threads)
            for name, form in forms.items():
                started = time.perf_counter()
                form()
                if turn:
                    seconds.setdefault((name, threads), []).append(time.perf_counter() - started)
    base = median(seconds["array operations", most])
    print(f"{options.width}x{options.height}, torch {torch.__version__}")
    for (name, threads), values in seconds.items():
        print(f"{name}, {threads} threads: {1000 * median(values):.0f} ms ({base / median(values):.1f} times as fast)")


if __name__ == "__main__":
    main()
