"""Ray measured: two workers against one, the scheduler on a virtual clock, what Ray costs, how a large run starts."""

from __future__ import annotations

import argparse

from cluster_bench.runs import large_start, overhead, scaling
from cluster_bench.schedule import schedule


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("scaling", "schedule", "overhead", "start", "all"), nargs="?", default="all")
    parser.add_argument("--workers", type=int, default=1000, help="of the virtual cluster")
    parser.add_argument("--videos", type=int, default=100_000, help="on the virtual cluster, and of the large run")
    parser.add_argument("--rounds", type=int, default=3, help="of real runs")
    parser.add_argument("--clips", type=int, default=7, help="of each real run")
    asked = parser.parse_args()
    if asked.part in ("scaling", "all"):
        scaling(asked.rounds, asked.clips)
    if asked.part in ("schedule", "all"):
        for sigma in (0.5, 1.0, 1.5):
            for seed in (1, 2):
                schedule(asked.workers, asked.videos, sigma, seed)
    if asked.part in ("overhead", "all"):
        overhead(asked.rounds, asked.clips)
    if asked.part in ("start", "all"):
        large_start(asked.videos)


if __name__ == "__main__":
    main()
