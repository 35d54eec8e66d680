"""The public entry points: `run` for many videos, `process_video` for one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from birefnet_batch.calls import check_documents, check_settings, check_types, requested_jobs
from birefnet_batch.errors import NoWorkerError, OutputError, OutputLostError
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.selection import make_executor
from birefnet_batch.manifest_entries import InvalidEntry
from birefnet_batch.progress import Progress, make_progress
from birefnet_batch.publish import complete_result
from birefnet_batch.request import Request
from birefnet_batch.result import Result
from birefnet_batch.result_lines import ManifestLine
from birefnet_batch.resume import split_complete
from birefnet_batch.run_ids import new_run_id
from birefnet_batch.run_record import RunRecorder
from birefnet_batch.settings import Settings
from birefnet_batch.settings.checks import unused_settings
from birefnet_batch.storage import Output
from birefnet_batch.temporary_folder import require_temporary_folder
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.versions import library_versions

_log = logging.getLogger(__name__)
INVALID_ENTRIES = "invalid_entries.jsonl"
"""The file of a run's folder with what was left out and why."""


@dataclass(frozen=True)
class RunSummary:
    """What became of a run."""

    run_id: str
    output: str
    """Where the results are: a path, or a bucket's URL."""
    succeeded: int
    failed: int
    skipped: int
    failures: tuple[tuple[str, str], ...] = ()
    """(source URI without credentials, reason) of each failed video."""
    invalid: int = 0
    """Requests and manifest entries that were left out because they are wrong (`on_invalid=skip`)."""

    @property
    def ok(self) -> bool:
        """Whether every video succeeded, now or in an earlier run."""
        return self.failed == 0 and self.invalid == 0


@dataclass
class _Tally:
    failures: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("succeeded", "failed", "skipped"), 0))

    def add(self, outcome: JobOutcome) -> ManifestLine:
        uri = outcome.job.display_uri
        line = ManifestLine(outcome.job.job_id, uri, outcome.status, outcome.result_path, outcome.error)
        self.counts[outcome.status] += 1
        if outcome.status == "failed":
            self.failures.append((uri, outcome.error or ""))
        return line


def run(
    settings: Settings,
    requests: Iterable[Request | Mapping[str, Any]],
    *,
    progress: Progress | None = None,
    documents: Mapping[str, str] | None = None,
    command: list[str] | None = None,
    invalid: int = 0,
    on_outcome: Callable[[JobOutcome], None] = lambda outcome: None,
) -> RunSummary:
    """Cut out videos; one video's failure is recorded and costs no other.

    Args:
        settings: validated settings with `output`.
        requests: what to do, as Requests or as the arguments of API calls; relative paths are relative to the working
            folder. Duplicates run once.
        progress: shows what happens; by default bars or lines on standard error.
        documents: further texts to keep in the run's folder, by plain file names that the run has not itself.
        command: the command line that asked for this, recorded without the secrets that our own words may hold; the
            program's name alone if left out, for what else is in its arguments is its own affair.
        invalid: how many manifest entries were left out, recorded; requests that are refused here are added.
        on_outcome: told of each video as it ends.

    Raises:
        RequestError: the arguments of a call are wrong.
        InputError: a request's URL cannot be read, or differs from another's in nothing but its secrets. Of several
            such requests, or wrong ones, a ProblemsError tells; with `on_invalid=skip` only if there is no other.
        ConfigError: there is no output, no folder for temporary files, nothing to do, a document cannot be called so,
            or the media settings do not go with an output type.
        EngineError: this machine, where all is done on it, does not have the engine that was asked for.
        WeightsError: nor the weights of any of the models.
        NoWorkerError: no machine of the cluster, or no GPU of this one, can do what is left.
        OutputError: the output cannot be written; OutputLostError when that is so in the middle of the run.
    """
    check_settings(settings)
    settings.validate()
    check_documents(documents or {})
    if unused := unused_settings(settings):
        _log.warning("of Ray alone, and left out here: %s; give executor=ray to have workers", ", ".join(unused))
    folder = settings.required_output
    jobs, refused = requested_jobs(settings, requests)
    if refused:
        documents = _with_refused(documents or {}, refused)
        invalid += len(refused)
    check_types(settings, jobs)
    require_temporary_folder()
    # Otherwise wrong options would be told once for each video.
    for scheme in {scheme_of(job.uri) for job in jobs} & set(settings.storage.options):
        from birefnet_batch.storage.filesystems import bucket_filesystem

        bucket_filesystem(scheme, settings.storage)
    if settings.engine.shared_store is not None:
        from birefnet_batch.engines.shared_store import SharedStore

        # As little a video's fault.
        SharedStore(settings.engine.shared_store, settings.storage)
    run_id = new_run_id()
    tally = _Tally()
    with Output(folder, run_id, settings.storage) as output:
        context = RunContext(run_id, settings, output, library_versions())
        todo, complete = split_complete(output, settings, jobs)
        try:
            with (
                RunRecorder(context, command or sys.argv[:1], documents or {}, len(jobs), invalid) as recorder,
                progress or make_progress(len(jobs)) as shown,
            ):
                for job in complete:
                    outcome = JobOutcome(job, "skipped")
                    recorder.ended(tally.add(outcome))
                    on_outcome(outcome)
                shown.complete_already(len(complete))

                def ended(outcome: JobOutcome) -> None:
                    recorder.ended(tally.add(outcome), outcome.frames, outcome.seconds)
                    on_outcome(outcome)
                    shown.ended(
                        outcome.job.display_uri,
                        outcome.status,
                        outcome.frames,
                        outcome.seconds,
                        outcome.error,
                    )

                if todo:
                    _pass_on(make_executor(context).run(todo, shown), ended)
                output.all_ended()
        except NoWorkerError as error:
            done = f"{tally.counts['succeeded']} succeeded and {tally.counts['failed']} failed before"
            raise NoWorkerError(f"{error}. {done}: {output.shown}/manifest.jsonl") from error
        except OutputError as error:
            told = f"{error}; the run ended with that, and the same command goes on with the rest"
            raise OutputLostError(told) from error
        location = output.shown
    return RunSummary(run_id=run_id, output=location, invalid=invalid, failures=tuple(tally.failures), **tally.counts)


def _pass_on(outcomes: Iterator[JobOutcome], ended: Callable[[JobOutcome], None]) -> None:
    """Tell of each outcome; the executor's work has ended when this returns or raises.

    An interrupt while one is told of is given to the executor, as one while it worked itself would have been: what is
    being done may end.
    """
    try:
        for outcome in outcomes:
            ended(outcome)
    except KeyboardInterrupt as interrupt:
        if isinstance(outcomes, Generator):
            # Raised again by an executor that had it already, or has nothing left to tell.
            with suppress(StopIteration):
                ended(outcomes.throw(interrupt))
                _pass_on(outcomes, ended)
        raise
    finally:
        if isinstance(outcomes, Generator):
            # Whoever holds the exception holds it by its trace, and the output is about to be given back.
            outcomes.close()


def _with_refused(documents: Mapping[str, str], refused: Iterable[InvalidEntry]) -> dict[str, str]:
    """Log requests that are left out, and put them on record as the program does a manifest's entries."""
    lines = documents.get(INVALID_ENTRIES, "")
    for entry in refused:
        _log.warning("skipped: %s: %s", entry.place, "; ".join(entry.reasons))
        lines += f"{entry.to_json()}\n"
    return {**documents, INVALID_ENTRIES: lines}


class _Silent(Progress):
    def show_frames(self) -> None:
        pass

    def show_ended(self, line: str) -> None:
        pass


def process_video(
    request: Request | Mapping[str, Any], *, output: str | Path, settings: Settings | None = None
) -> Result:
    """Cut out one video.

    Args:
        request: a Request, or the arguments of an API call.
        output: folder for the result.
        settings: everything else; its own `output` is not used.

    Returns:
        The API's output. A job that is complete already is not done again (`settings.resume`).

    Raises:
        RequestError: the arguments are wrong.
        ConfigError: the settings are.
        BirefnetBatchError: the video cannot be done; the message says why.
    """
    settings = Settings() if settings is None else settings
    check_settings(settings)
    settings = replace(settings, output=str(output) if isinstance(output, Path) else output)
    outcomes: list[JobOutcome] = []
    summary = run(settings, [request], progress=_Silent(1, sys.stderr), on_outcome=outcomes.append)
    outcome = outcomes[0]
    if outcome.exception is not None:
        raise outcome.exception
    if outcome.result is not None:
        return Result.from_dict(outcome.result)
    return complete_result(Output(settings.required_output, summary.run_id, settings.storage), outcome.job)
