"""Memory of all processes together while a long video, or one of large frames, goes through the pipeline.

    .venv/bin/python scripts/bench_memory.py long [--minutes 120] [--rate 5] [--type x264]
    .venv/bin/python scripts/bench_memory.py 4k [--frames 48] [--type x264] [--mask]

`long` generates a video of small frames and runs it with an engine that costs nothing; memory that does not grow has
the same peak in every tenth of the work. `4k` runs 3840x2160 through the demo model by the command line.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from bench_pipeline import FreeEngine, make_clip, task_of

from birefnet_batch.request import OUTPUT_SHORT_NAMES

EVERY_S = 0.05


def children() -> dict[int, list[int]]:
    """The processes of this machine by their parent."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found.setdefault(parent, []).append(int(entry.name))
    return found


def resident(root: int) -> list[float]:
    """MiB of a process and of each of its descendants; what they share is divided among them.

    Counted in full for each, a process would seem to double at the moment in which it starts another.
    """
    tree, waiting, found = children(), [root], []
    while waiting:
        pid = waiting.pop()
        waiting += tree.get(pid, [])
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")]
    return found


class Watch:
    """Samples the memory of a process tree until it ends; `done` is what share of the work was done at each sample."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.done = 0.0
        self.samples: list[tuple[float, float]] = []
        self.at_peak: list[float] = []
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while self._process.poll() is None:
            found = resident(self._process.pid)
            if sum(found) > sum(self.at_peak):
                self.at_peak = found
            self.samples.append((self.done, sum(found)))
            time.sleep(EVERY_S)

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()
        if self._process.returncode:
            raise SystemExit(f"the work failed with status {self._process.returncode}")

    @property
    def peak(self) -> float:
        """MiB."""
        return sum(self.at_peak)


def work(clip: Path, output_type: str, folder: Path) -> None:
    """What `long` watches: one segment and its join, the count of frames printed as it grows."""
    from birefnet_batch.pipeline import join, process_segment
    from birefnet_batch.process_tuning import keep_freed_memory
    from birefnet_batch.video.probe import probe

    keep_freed_memory()
    task = task_of(clip, probe(clip), output_type, folder)
    count = 0

    def grown(frames: int) -> None:
        nonlocal count
        count += frames
        if count % 100 == 0:
            print(count, flush=True)

    with FreeEngine() as engine:
        record = process_segment(task, engine, grown)
    join([task], "video", folder / "out", end=record.end, audio=True, timeout_s=60)


def long_video(folder: Path, minutes: float, rate: int, output_type: str) -> None:
    """Print the peak of each tenth of a long video."""
    frames = round(minutes * 60 * rate)
    clip = folder / "clip.mp4"
    make_clip(clip, frames, 128, 96, rate)
    command = [sys.executable, __file__, "work", str(clip), output_type, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Watch(process)
    assert process.stdout is not None
    for line in process.stdout:
        watch.done = int(line) / frames
    watch.join()
    tenths = [[used for done, used in watch.samples if int(done * 10) == tenth] for tenth in range(10)]
    peaks = [max(used) for used in tenths if used]
    print(f"{output_type}: {minutes:g} minutes, {frames} frames of 128x96; MiB of all processes, peak of each tenth:")
    print(", ".join(f"{peak:.0f}" for peak in peaks))
    print(f"the last over the second: {peaks[-1] / peaks[1]:.3f}; peak with the join {watch.peak:.0f} MiB")


def large_frames(folder: Path, frames: int, output_type: str, mask: bool) -> None:
    """Print the peak of 4K through the demo model."""
    clip = folder / "clip.mp4"
    make_clip(clip, frames, 3840, 2160)
    command = [sys.executable, "-m", "birefnet_batch", f"request.video_url={clip}", "request.model=demo"]
    command += [
        f"request.output_mask={str(mask).lower()}",
        f"request.video_output_type='{output_type}'",
        f"output={folder / 'out'}",
    ]
    watch = Watch(subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True))
    watch.join()
    print(f"{output_type}: {frames} frames of 3840x2160 through the demo model, mask {mask}: {watch.peak:.0f} MiB")
    print("of each process then: " + ", ".join(f"{used:.0f}" for used in watch.at_peak))


def main() -> None:
    """Run what the command line asks for."""
    if sys.argv[1:2] == ["work"]:
        clip, output_type, folder = sys.argv[2:]
        work(Path(clip), output_type, Path(folder))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("long", "4k"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--rate", type=int, default=5)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--mask", action="store_true", help="write the mask video too")
    parser.add_argument("--type", choices=OUTPUT_SHORT_NAMES, default="x264")
    options = parser.parse_args()
    output_type = OUTPUT_SHORT_NAMES[options.type]
    with tempfile.TemporaryDirectory() as name:
        if options.what == "long":
            long_video(Path(name), options.minutes, options.rate, output_type)
        else:
            large_frames(Path(name), options.frames, output_type, options.mask)


if __name__ == "__main__":
    main()
