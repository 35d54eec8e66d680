"""Kill runs with SIGKILL at random moments, resume them, and compare with one undisturbed run.

    .venv/bin/python scripts/kill_and_resume.py [--kills 50] [--videos 4] [--frames 6] [--seed 0] [--quick]

With --quick the runs are forks of one process, and in place of the network and the codecs stands an executor that
writes bytes made of the job's name: all that resuming depends on (listing, lease, scratch, publication, records) is the
real thing, at many kills a second.

Each round has an output of its own. A run of it is started and killed after a random time between nothing and the
length of an undisturbed run, again and again until one ends by itself. Then the round must have the media bytes of
the undisturbed run, no file that it has not, every video done exactly once, and complete videos left untouched by
later runs. Ends with status 1 and says what differs when something does.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from birefnet_batch import Request, Settings, batch
from birefnet_batch.executors.base import Executor, JobOutcome
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.job_keys import find_key
from birefnet_batch.executors.ledger import Ledger
from birefnet_batch.jobs import Job
from birefnet_batch.progress import PlainProgress, Progress
from birefnet_batch.publish import Media, publish
from birefnet_batch.storage import source_facts
from birefnet_batch.video.encode import Kind
from birefnet_batch.video.join import JoinedFacts


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


class Program:
    """The program as a user starts it."""

    def __init__(self, sources: Path, output: Path) -> None:
        words = [
            *(sys.executable, "-m", "birefnet_batch", f"manifest={sources}", f"output={output}", "request.model=demo"),
            *("request.operating_resolution=256", "request.output_mask=true", "request.video_write_mode=fast"),
        ]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end(self, kill_after: float | None) -> tuple[int, str]:
        """Wait, kill when that takes too long; the status (-9 when killed) and the complaints."""
        try:
            _, complaints = self._process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            _, complaints = self._process.communicate()
        return self._process.returncode, complaints.decode(errors="replace")[-500:]


class Fork:
    """The same run with a stand-in for what a video costs."""

    def __init__(self, sources: Path, output: Path) -> None:
        self._complaints = output.parent / "complaints"
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                quick_run(sources, output)
                status = 0
            except BaseException:
                self._complaints.write_text(traceback.format_exc())
            finally:
                os._exit(status)

    def end(self, kill_after: float | None) -> tuple[int, str]:
        """See `Program`."""
        deadline = None if kill_after is None else time.monotonic() + kill_after
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return code, self._complaints.read_text()[-500:] if code == 1 else ""
            if deadline is not None and time.monotonic() > deadline:
                os.kill(self._pid, signal.SIGKILL)
                deadline = None
            time.sleep(0.0005)


def quick_run(sources: Path, output: Path) -> None:
    """`run` with an executor that publishes bytes made of the job's name."""
    batch.make_executor = QuickExecutor  # type: ignore[assignment]
    requests = [Request(str(path), model="Demo", output_mask=True) for path in sorted(sources.iterdir())]
    silent = PlainProgress(len(requests), io.StringIO())
    settings = replace(Settings(), output=str(output))
    batch.run(settings, requests, progress=silent, command=["quick"])


class QuickExecutor(Executor):
    """Does everything but matting and encoding."""

    name = "quick"

    def run(self, jobs: Iterable[Job], progress: Progress) -> Iterator[JobOutcome]:
        """See `Executor.run`."""
        with EngineCache(self.context.settings) as engines:
            for job in jobs:
                facts = source_facts(job.uri, self.context.settings.storage)
                key = find_key(engines, self.context.settings, job, facts.fingerprint).key
                made = [self._media(job, kind) for kind in ("video", "mask")]
                record = replace(Ledger.opened(self.context, job).record, status="succeeded", key=key)
                result = publish(self.context.output, job, record, made)
                yield JobOutcome(job, "succeeded", frames=5, result=result.to_dict())

    def _media(self, job: Job, kind: Kind) -> Media:
        staged = self.context.output.staged(f"{job.job_id}.{kind}")
        with staged.open("wb") as file:
            for part in range(4):
                file.write(f"{job.job_id} {kind} {part}\n".encode() * 500)
                file.flush()
                time.sleep(0.001)
        suffix = "" if kind == "video" else "_mask"
        facts = JoinedFacts(5, 0.2, 25.0, 64, 48, staged.stat().st_size, ())
        return Media(kind, staged, f"{job.stem}{suffix}.mp4", "video/mp4", facts)


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


def torture(folder: Path, kills: int, videos: int, seed: int, frames: int, quick: bool) -> list[str]:
    """Do as the module says, in a folder.

    Returns:
        What was wrong; nothing when all is well.
    """
    chance = random.Random(seed)
    start = Fork if quick else Program
    sources, reference = folder / "in", folder / "reference"
    sources.mkdir()
    for number in range(videos):
        make_clip(sources / f"clip-{number}.mp4", frames, 20 * number)
    if quick:
        # What a fork inherits it need not do: the first listing of versions and hardware takes seconds.
        quick_run(sources, folder / "warm")
    began = time.monotonic()
    status, complaints = start(sources, reference).end(None)
    length = time.monotonic() - began
    if status:
        return [f"the undisturbed run ended with {status}: {complaints}"]
    print(f"undisturbed: {videos} videos in {length:.2f} s", flush=True)
    problems: list[str] = []
    killed = rounds = 0
    while killed < kills and not problems:
        rounds += 1
        output = folder / f"round-{rounds}"
        runs, status = 0, -signal.SIGKILL
        while status == -signal.SIGKILL and not problems:
            runs += 1
            before = complete_jobs(output)
            # The last round may end undisturbed.
            status, complaints = start(sources, output).end(chance.uniform(0, length) if killed < kills else None)
            killed += status == -signal.SIGKILL
            after = complete_jobs(output)
            problems += [f"{job} was touched after it was complete" for job in before if after.get(job) != before[job]]
            if status not in (0, -signal.SIGKILL):
                problems.append(f"a resumed run ended with {status}: {complaints}")
        problems = problems or list(problems_of(output, reference))
        outcome = "; ".join(problems) or "as undisturbed"
        print(f"round {rounds}: {runs} runs, {killed} of {kills} kills so far, {outcome}", flush=True)
    return problems


def main() -> int:
    """Run in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=6, help="of each video")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="forks, and a stand-in for network and codecs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = torture(
            Path(folder), arguments.kills, arguments.videos, arguments.seed, arguments.frames, arguments.quick
        )
    print("\n".join(problems) or f"{arguments.kills} kills: the same bytes, nothing twice, no stray files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
