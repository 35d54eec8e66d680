"""run.json, the run's configuration and its live manifest, in `runs/<run id>/`.

A file `running` stands beside them for as long as the run goes on, so that one listing shows which runs died.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from birefnet_batch.errors import OutputError
from birefnet_batch.executors.base import RunContext
from birefnet_batch.output_files import MANIFEST, RUN, RUNNING, RUNS, run_file
from birefnet_batch.redaction import Redactor, secret_variables
from birefnet_batch.result_lines import ManifestLine, RunLine, merge_manifest, run_lines
from birefnet_batch.results import SCHEMA_VERSION, pretty_json, read_record, utc_now
from birefnet_batch.storage import Output
from birefnet_batch.storage.live_lines import LiveLines
from birefnet_batch.versions import git_revision, machine

_log = logging.getLogger(__name__)


class RunRecorder:
    """Writes a run's folder: run.json at its start and its end, a line per video as it ends, and the output's manifest.

    Args:
        context: the run.
        command: its command line.
        documents: further texts by file name: the composed configuration.
        videos: how many it has.
        invalid: how many manifest entries were left out.
    """

    def __init__(
        self, context: RunContext, command: list[str], documents: Mapping[str, str], videos: int, invalid: int
    ) -> None:
        # Together, and before what takes long: the record's times and its total are of one span.
        started, self._started = utc_now(), time.perf_counter()
        self._context = context
        self._documents = documents
        settings = context.settings
        self._redactor = Redactor({**settings.storage.options, **secret_variables(settings.executor.runtime_env)})
        self._counts = {
            "videos": videos,
            "succeeded": 0,
            "failed": 0,
            "skipped": 0,
            "invalid_entries": invalid,
        }
        self._lines: LiveLines | None = None
        self._videos: list[ManifestLine] = []
        self._record: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": context.run_id,
            "status": "running",
            # Why it failed, where no video is at fault.
            "error": None,
            "command": self._redactor.words(command),
            # Relative paths of the command and the settings are relative to it.
            "working_directory": str(Path.cwd()),
            "settings": self._redactor.value(context.settings.to_dict()),
            "versions": context.versions,
            "git_revision": git_revision(),
            "machine": machine(),
            "started": started,
            "finished": None,
            "counts": self._counts,
            "used": [],
            "timings": {},
        }

    def __enter__(self) -> RunRecorder:
        output = self._context.output
        close_dead_runs(output)
        output.write(self._file(RUNNING), b"")
        for name, text in self._documents.items():
            output.write(self._file(name), self._redactor.text(text).encode("utf-8", "replace"))
        self._write()
        self._lines = LiveLines(output, self._file(MANIFEST))
        return self

    def ended(self, line: ManifestLine, frames: int = 0, seconds: float = 0.0) -> None:
        """A video ended, after so many frames and seconds.

        Raises:
            OutputError: another run has taken the output over, or that may be so.
        """
        assert self._lines is not None
        self._videos.append(line)
        # A line in a file that is open tells nothing of it, and no later video of this run could be published.
        self._context.output.check()
        ended = RunLine(**vars(line), frames=frames, seconds=round(seconds, 3), finished=utc_now())
        self._lines.append(ended.to_json())
        self._counts[line.status] += 1
        if line.status == "succeeded":
            self._note_used(line.job_id)

    def _note_used(self, job_id: str) -> None:
        """Weights, engines and counts that made results, each kind once: what a repeat needs."""
        try:
            record = read_record(self._context.output.store, job_id)
        except OutputError as error:
            # No run is to end for a count, and job.json has it.
            _log.warning("run.json does not count under `used` what made %s: %s", job_id, error)
            return
        if record is None:
            return
        used = {
            "model": None if record.model is None else vars(record.model),
            "engine": record.engine,
            "encoder_threads": record.media.get("encoder_threads"),
        }
        for known in self._record["used"]:
            if {name: value for name, value in known.items() if name != "videos"} == used:
                known["videos"] += 1
                return
        self._record["used"].append({**used, "videos": 1})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            merge_manifest(self._context.output, self._videos)
        except BaseException as failure:
            # `running` stays: then the next run takes these videos from this one's folder.
            self._end(failure)
            raise
        self._end(error)
        self._context.output.remove(self._file(RUNNING))

    def _end(self, error: BaseException | None) -> None:
        if self._lines is not None:
            self._lines.close()
        if isinstance(error, KeyboardInterrupt):
            self._record["status"] = "interrupted"
        else:
            self._record["status"] = "finished" if error is None else "failed"
            self._record["error"] = None if error is None else self._redactor.text(str(error) or type(error).__name__)
        self._record["finished"] = utc_now()
        self._record["timings"] = {"total": round(time.perf_counter() - self._started, 3)}
        self._write()

    def _write(self) -> None:
        self._context.output.write(self._file(RUN), pretty_json(self._record))

    def _file(self, name: str) -> str:
        return run_file(self._context.run_id, name)


def close_dead_runs(output: Output) -> None:
    """Say of runs that were killed that they died, and take what is not in manifest.jsonl of their videos into it.

    For the holder of the output alone: then a run that says it is running is dead.
    """
    renewed = {holder.run_id: holder.renewed for holder in output.dead_holders}
    for run_id in output.store.folders_with(RUNS, RUNNING):
        merge_manifest(output, run_lines(output.store, run_id))
        try:
            record = json.loads(output.read(run_file(run_id, RUN)) or b"")
            # Others said how they ended, but could not write manifest.jsonl, or were killed before `running` went.
            if record["status"] == "running":
                # With its lease its last sign of life goes.
                died = {"status": "died", "lease_renewed": renewed.get(run_id)}
                output.write(run_file(run_id, RUN), pretty_json({**record, **died}))
        except (ValueError, TypeError, KeyError):
            # Killed before it was written: there is nothing to say of it.
            pass
        output.remove(run_file(run_id, RUNNING))
