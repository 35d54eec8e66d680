"""Frames a second of one demo clip through the whole pipeline, with and without what makes torch fast beside it.

    .venv/bin/python scripts/bench_demo.py [--rounds 2] [--only "as shipped,neither"]

The variants take turns, each in a process of its own, so that drift of the machine cancels. The time is the job's
own total: decoding, matting, foreground, encoding of video and mask, joining; not the start of Python. `the machine's
threads` differs from what is shipped in a container that is given a part of its machine's processors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from birefnet_batch.conf_folder import demo_clips

VARIANTS = {
    "as shipped": "",
    "libgomp's own waiting": "birefnet_batch.process_tuning.spin_briefly = lambda: None",
    "sleeping at once": "import os\nos.environ['OMP_WAIT_POLICY'] = 'passive'",
    "memory given back": "birefnet_batch.process_tuning.keep_freed_memory = lambda: None",
    "the machine's threads": "birefnet_batch.process_tuning.processor_share = lambda: None",
    "a team per stage": "birefnet_batch.process_tuning.compute_alone = lambda: None",
    "neither": "birefnet_batch.process_tuning.keep_freed_memory = lambda: None\n"
    "birefnet_batch.process_tuning.compute_alone = lambda: None",
}
PROGRAM = """
import resource, sys
import birefnet_batch.process_tuning
{change}
from birefnet_batch.__main__ import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def measure(change: str, clip: Path) -> tuple[float, int]:
    """Frames a second, and the peak memory of the main process in MiB."""
    with tempfile.TemporaryDirectory() as output:
        done = subprocess.run(
            [
                *(sys.executable, "-c", PROGRAM.format(change=change)),
                *(f"request.video_url={clip}", "request.model=demo", "request.output_mask=true", f"output={output}"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        (record,) = Path(output).glob("jobs/*/job.json")
        job = json.loads(record.read_text("utf-8"))
    return job["source"]["frames"] / job["timings"]["total"], int(done.stdout.split("peak")[1])


def main() -> None:
    """Print a line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(VARIANTS), help="variants; the last one is what others are of")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.only.split(",")]
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"--only: {unknown[0]!r} is none of {', '.join(VARIANTS)}")
    clip = demo_clips() / "motorcycle.mp4"
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            found[name].append(measure(VARIANTS[name], clip))
    base = median(rate for rate, _ in found[names[-1]])
    for name, values in found.items():
        rate, peak = median(rate for rate, _ in values), median(peak for _, peak in values)
        print(f"{name:21} {rate:5.2f} frames/s ({rate / base:.2f} of {names[-1]}), peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
