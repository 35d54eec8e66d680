"""Kill runs with SIGKILL at random moments, resume them, and compare with one undisturbed run.

    .venv/bin/python scripts/kill_and_resume.py [--kills 50] [--videos 4] [--seed 0]

Each round has an output of its own. A run of it is started and killed after a random time between nothing and the
length of an undisturbed run, again and again until one ends by itself. Then the round must have the media bytes of
the undisturbed run, no file that it has not, every video done exactly once, and complete videos left untouched by
later runs. Ends with status 1 and says what differs when something does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np


def make_clip(path: Path, frames: int, shade: int) -> None:
    """A bright square that moves over a dark ground."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            image = np.full((48, 64, 3), shade, np.uint8)
            image[12:36, 8 + index : 32 + index] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def start(sources: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a run as a user would."""
    words = [
        *(sys.executable, "-m", "birefnet_batch", f"manifest={sources}", f"output={output}", "request.model=demo"),
        *("request.operating_resolution=256", "request.output_mask=true", "request.video_write_mode=fast"),
    ]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def media_of(output: Path) -> dict[str, str]:
    """Digests of the media files, by their paths below the output."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.glob("jobs/*/*.mp4"))
    }


def files_of(output: Path) -> set[str]:
    """Every file but the records of the runs, of which there are as many as there were runs."""
    names = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("runs/")}


def complete_jobs(output: Path) -> dict[str, int]:
    """When the media of complete jobs were written, by job."""
    found = {}
    for marker in output.glob("jobs/*/complete-*"):
        found[marker.parent.name] = max(path.stat().st_mtime_ns for path in marker.parent.iterdir())
    return found


def problems_of(output: Path, reference: Path) -> Iterator[str]:
    """What a round has that the undisturbed run has not."""
    if media_of(output) != media_of(reference):
        yield "the media differ from those of the undisturbed run"
    if files_of(output) != files_of(reference):
        yield f"stray or missing files: {sorted(files_of(output) ^ files_of(reference))}"
    done: Counter[str] = Counter()
    for lines in output.glob("runs/*/manifest.jsonl"):
        entries = [json.loads(line) for line in lines.read_text().splitlines()]
        done.update(entry["job_id"] for entry in entries if entry["status"] == "succeeded")
    yield from (f"{job_id} was done {count} times" for job_id, count in done.items() if count > 1)
    manifest = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    if sorted(entry["job_id"] for entry in manifest) != sorted(complete_jobs(output)):
        yield "manifest.jsonl does not list the complete jobs"


def torture(folder: Path, kills: int, videos: int, seed: int, frames: int = 6) -> list[str]:
    """Do as the module says, in a folder.

    Returns:
        What was wrong; nothing when all is well.
    """
    chance = random.Random(seed)
    sources, reference = folder / "in", folder / "reference"
    sources.mkdir()
    for number in range(videos):
        make_clip(sources / f"clip-{number}.mp4", frames, 20 * number)
    began = time.monotonic()
    undisturbed = start(sources, reference)
    _, complaints = undisturbed.communicate()
    length = time.monotonic() - began
    if undisturbed.returncode:
        return [f"the undisturbed run ended with {undisturbed.returncode}: {complaints.decode()[-500:]}"]
    print(f"undisturbed: {videos} videos in {length:.1f} s", flush=True)
    problems: list[str] = []
    killed = rounds = 0
    while killed < kills and not problems:
        rounds += 1
        output = folder / f"round-{rounds}"
        runs = 0
        while True:
            runs += 1
            before = complete_jobs(output)
            process = start(sources, output)
            # The last round may end undisturbed.
            wait = chance.uniform(0, length) if killed < kills else None
            try:
                _, complaints = process.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
            after = complete_jobs(output)
            problems += [
                f"{job_id} was touched after it was complete"
                for job_id in before
                if after.get(job_id) != before[job_id]
            ]
            if process.returncode not in (0, -signal.SIGKILL):
                problems.append(f"a resumed run ended with {process.returncode}: {complaints.decode()[-500:]}")
            if process.returncode != -signal.SIGKILL or problems:
                break
        problems += list(problems_of(output, reference)) if not problems else []
        print(
            f"round {rounds}: {runs} runs, {killed} of {kills} kills so far, {'; '.join(problems) or 'as undisturbed'}",
            flush=True,
        )
    return problems


def main() -> int:
    """Run in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=6, help="of each video")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = torture(Path(folder), arguments.kills, arguments.videos, arguments.seed, arguments.frames)
    print("\n".join(problems) or f"{arguments.kills} kills: the same bytes, nothing twice, no stray files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
