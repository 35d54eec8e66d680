"""Real runs, timed: with Ray, and as bare processes without it."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from birefnet_batch.conf_folder import demo_clips

_RUN = """
import json, sys, time
from birefnet_batch import Request, Settings, run
from birefnet_batch.process_tuning import keep_freed_memory
from birefnet_batch.progress import PlainProgress
from birefnet_batch.settings import EngineSettings, ExecutorName, ExecutorSettings, MediaSettings
name, workers, output, clips = json.loads(sys.argv[1])
keep_freed_memory()
settings = Settings(
    output=output,
    engine=EngineSettings(threads=1),
    executor=ExecutorSettings(name=ExecutorName[name], workers=workers),
    media=MediaSettings(encoder_threads=1),
)
ends = []
requests = [Request.from_dict({"video_url": clip, "model": "demo", "operating_resolution": 256}) for clip in clips]
summary = run(settings, requests, progress=PlainProgress(len(clips), open("/dev/null", "w")),
    on_outcome=lambda outcome: ends.append(time.time()))
assert summary.ok, summary.failures
print(json.dumps(ends))
"""


def copies(folder: Path, count: int) -> list[str]:
    """So many videos that are the same work."""
    source = min(demo_clips().glob("*.mp4"))
    return [str(shutil.copy(source, folder / f"{number:03d}.mp4")) for number in range(count)]


def start(name: str, workers: int, output: Path, clips: list[str]) -> subprocess.Popen[str]:
    """A run in a process of its own; it prints when each video ended."""
    asked = json.dumps([name, workers, str(output), clips])
    return subprocess.Popen([sys.executable, "-c", _RUN, asked], stdout=subprocess.PIPE, text=True)


def ends(*processes: subprocess.Popen[str]) -> list[float]:
    """When the videos of these runs ended, in order."""
    times: list[float] = []
    for process in processes:
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a run failed with status {process.returncode}")
        times += json.loads(printed.splitlines()[-1])
    return sorted(times)


def rate(times: list[float], workers: int) -> float:
    """Videos a second once every worker has done its first one: start-up and opening engines are not in it."""
    return (len(times) - workers) / (times[-1] - times[workers - 1])


def scaling(rounds: int, videos: int) -> None:
    """Two workers of one thread against one, and two bare processes against one, interleaved."""
    ratios: dict[str, list[float]] = {"Ray": [], "bare": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = copies(folder, videos)
        for number in range(rounds):
            rates = {}
            for workers in (1, 2):
                rates["Ray", workers] = rate(
                    ends(start("ray", workers, folder / f"r{number}{workers}", clips)), workers
                )
                shares = [clips[share::workers] for share in range(workers)]
                bare = [
                    start("local", 1, folder / f"l{number}{workers}{share}", clips)
                    for share, clips in enumerate(shares)
                ]
                rates["bare", workers] = rate(ends(*bare), workers)
            for how, found in ratios.items():
                found.append(rates[how, 2] / rates[how, 1])
            print(f"round {number + 1}: " + ", ".join(f"{how} x{ratios[how][-1]:.3f}" for how in ratios), flush=True)
    ray, bare = (statistics.median(found) for found in ratios.values())
    print(
        f"two workers against one: Ray x{ray:.3f}, bare processes x{bare:.3f}: {ray / bare:.3f} of it (at least 0.92)"
    )


def overhead(rounds: int, videos: int) -> None:
    """One worker of Ray against the local executor, video by video, start-up left out."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = copies(folder, videos)
        for number in range(rounds):
            local = rate(ends(start("local", 1, folder / f"l{number}", clips)), 1)
            ray = rate(ends(start("ray", 1, folder / f"r{number}", clips)), 1)
            found.append(local / ray)
            print(f"round {number + 1}: a video takes {1 / local:.2f} s, with Ray {1 / ray:.2f} s", flush=True)
    print(f"one video with Ray takes {statistics.median(found):.3f} of the time without (under 1.03)")


def large_start(entries: int) -> None:
    """How long a manifest of many entries takes until the first is worked on, beside one of one, and the memory.

    No entry's file is there: a worker says so as soon as it has one.
    """
    for count in (1, entries):
        seconds, peak = _first_answer(count)
        print(f"{count} entries: the first answer {seconds:.1f} s after the command; peak memory {peak / 1024:.0f} MiB")


def _first_answer(entries: int) -> tuple[float, int]:
    """Seconds, and KiB that the driver took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = folder / "videos.jsonl"
        manifest.write_text("".join(f'"{folder}/missing-{number:06d}.mp4"\n' for number in range(entries)))
        began = time.monotonic()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "birefnet_batch", "executor=ray", f"manifest={manifest}"),
                *(f"output={folder / 'out'}", "request.model=demo", "request.operating_resolution=256x256"),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith(f"[1/{entries} "))
        seconds = time.monotonic() - began
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        process.stderr.read()
        process.wait()
    return seconds, next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
