"""run.json, the run's configuration and its live manifest, in `runs/<run id>/`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from birefnet_batch.executors.base import RunContext
from birefnet_batch.redaction import Redactor
from birefnet_batch.results import SCHEMA_VERSION, ManifestLine, pretty_json, utc_now
from birefnet_batch.storage.live_lines import LiveLines
from birefnet_batch.versions import git_revision, machine


class RunRecorder:
    """Writes a run's folder: run.json at its start and its end, a line per video as it ends.

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
        self._context = context
        self._folder = f"runs/{context.run_id}"
        self._documents = documents
        self._redactor = Redactor(context.settings.storage.options)
        self._counts = {
            "videos": videos,
            "succeeded": 0,
            "failed": 0,
            "skipped": 0,
            "invalid_entries": invalid,
        }
        self._started = time.perf_counter()
        self._lines: LiveLines | None = None
        self._record: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": context.run_id,
            "status": "running",
            "command": self._redactor.words(command),
            "settings": self._redactor.value(context.settings.to_dict()),
            "versions": context.versions,
            "git_revision": git_revision(),
            "machine": machine(),
            "started": utc_now(),
            "finished": None,
            "counts": self._counts,
            "timings": {},
        }

    def __enter__(self) -> RunRecorder:
        output = self._context.output
        for name, text in self._documents.items():
            output.write(f"{self._folder}/{name}", self._redactor.text(text).encode())
        self._write()
        self._lines = LiveLines(output, f"{self._folder}/manifest.jsonl")
        return self

    def ended(self, line: ManifestLine) -> None:
        """A video ended."""
        assert self._lines is not None
        self._lines.append(line.to_json())
        self._counts[line.status] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()
        if isinstance(error, KeyboardInterrupt):
            self._record["status"] = "interrupted"
        else:
            self._record["status"] = "finished" if error is None else "failed"
        self._record["finished"] = utc_now()
        self._record["timings"] = {"total": round(time.perf_counter() - self._started, 3)}
        self._write()

    def _write(self) -> None:
        self._context.output.write(f"{self._folder}/run.json", pretty_json(self._record))
