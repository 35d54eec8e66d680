"""How long a run takes that finds all its jobs complete.

    .venv/bin/python scripts/bench_resume.py [--jobs 10000] [--folder FOLDER]

Makes so many small source files and the folders of their complete jobs as a run leaves them (media, result.json,
job.json, marker), then times `run` on them, best of three, what of it is the recognition alone, and the whole program
from its start to its end, best of two.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from birefnet_batch import Request, Settings, run
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.job_keys import find_key
from birefnet_batch.jobs import Job, marker
from birefnet_batch.progress import PlainProgress
from birefnet_batch.resume import split_complete
from birefnet_batch.storage import Output, source_facts


def make(folder: Path, count: int) -> tuple[Settings, list[Request]]:
    """Sources and complete jobs."""
    (folder / "in").mkdir(parents=True)
    settings = replace(Settings(), output=str(folder / "out"))
    requests = []
    with EngineCache(settings) as engines:
        for number in range(count):
            source = folder / "in" / f"clip-{number:06d}.mp4"
            source.write_bytes(b"not decoded")
            request = Request(str(source), model="Demo")
            job = Job.from_request(request)
            facts = source_facts(job.uri, settings.storage)
            key = find_key(engines, settings, job, facts.fingerprint).key
            place = folder / "out" / job.folder
            place.mkdir(parents=True)
            for name in (f"{job.stem}.mp4", "result.json", "job.json", marker(key)):
                (place / name).touch()
            requests.append(request)
    return settings, requests


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        settings, requests = make(folder, arguments.jobs)
        whole, part, busy = [], [], []
        for _ in range(3):
            started, began = time.perf_counter(), time.process_time()
            summary = run(settings, requests, progress=PlainProgress(len(requests), io.StringIO()), command=["bench"])
            whole.append(time.perf_counter() - started)
            busy.append(time.process_time() - began)
            assert summary.skipped == arguments.jobs, summary
            jobs = [Job.from_request(request) for request in requests]
            with Output(str(settings.output), "bench") as output:
                started = time.perf_counter()
                todo, _ = split_complete(output, settings, jobs)
                part.append(time.perf_counter() - started)
            assert not todo
        words = [f"manifest={folder / 'in'}", f"output={folder / 'out'}", "request.model=demo"]
        program = []
        for _ in range(2):
            started = time.perf_counter()
            told = subprocess.run(
                [sys.executable, "-m", "birefnet_batch", *words], capture_output=True, check=True, text=True
            ).stdout
            program.append(time.perf_counter() - started)
            assert f"{arguments.jobs} complete already" in told, told
        print(
            f"{arguments.jobs} complete jobs: run {min(whole):.2f} s ({min(busy):.2f} s of it on a processor), "
            f"recognising them {min(part):.2f} s (best of 3); the whole program {min(program):.2f} s (best of 2)"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
