"""What the files of an output are called: a folder for each job, one for each run, and the manifest over all."""

from __future__ import annotations

JOBS = "jobs"
RUNS = "runs"
MANIFEST = "manifest.jsonl"
"""Of the output, over all its runs; and of each run's folder, a line per video as it ends."""
PARTS = ".parts"
"""Of an output in a bucket: what travels between machines."""
RECORD = "job.json"
RESULT = "result.json"
FAILED = "failed.json"
"""The record of a failed attempt at a job that has a complete result."""
RUN = "run.json"
RUNNING = "running"
"""The file that is in a run's folder for as long as the run goes on."""


def job_file(job_id: str, name: str) -> str:
    """The path of one of a job's files relative to the output."""
    return f"{JOBS}/{job_id}/{name}"


def run_file(run_id: str, name: str) -> str:
    """The path of one of a run's files relative to the output."""
    return f"{RUNS}/{run_id}/{name}"
