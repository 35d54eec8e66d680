"""What is known of a job while it is worked on; it ends as job.json, whether the job succeeds or fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from birefnet_batch.errors import BirefnetBatchError, OutputError, WorkerLostError
from birefnet_batch.executors.base import JobOutcome, RunContext
from birefnet_batch.executors.retries import is_unwell
from birefnet_batch.jobs import Job
from birefnet_batch.publish import publish_failure
from birefnet_batch.refusals import system_reason
from birefnet_batch.results import AttemptRecord, ErrorRecord, JobRecord, SourceRecord, utc_now
from birefnet_batch.url_redaction import redact_text


class Ledger:
    """`record` grows as facts become known, so that a failure's record has them too."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record

    @classmethod
    def opened(cls, context: RunContext, job: Job, history: tuple[AttemptRecord, ...] = ()) -> Ledger:
        """The ledger of a job that is begun; `history` has its attempts that failed."""
        return cls(
            JobRecord(
                job_id=job.job_id,
                status="failed",
                request={**job.request.to_dict(), "video_url": job.display_uri},
                source=SourceRecord(uri=job.display_uri),
                attempts=len(history) + 1,
                media=context.settings.to_dict()["media"],
                started=utc_now(),
                run_id=context.run_id,
                versions=context.versions,
                history=list(history),
            )
        )

    def note(self, **facts: Any) -> None:
        """Set fields of the record."""
        self.record = replace(self.record, **facts)

    def found(self, **facts: Any) -> None:
        """Set fields of the record's source."""
        self.note(source=replace(self.record.source, **facts))

    @property
    def seconds(self) -> float:
        """Since the job was begun, on whatever machine."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.record.started)).total_seconds())


def described(error: Exception) -> BirefnetBatchError:
    """The error as one of ours, fit for files and logs: what is unexpected says so."""
    if isinstance(error, BirefnetBatchError):
        return error
    if is_unwell(error):
        return WorkerLostError(
            f"the process ran out of something, or cannot load a library ({type(error).__name__}: "
            f"{redact_text(str(error))}); give it more memory, processes or open files (ulimit -a), or mend the "
            "installation"
        )
    if isinstance(error, OSError):
        named = f"{error.filename} cannot be used" if error.filename else "the system refused"
        return OutputError(f"{named}: {system_reason(error, 'mend its rights, or choose another output folder')}")
    message = redact_text(str(error)) or type(error).__name__
    return BirefnetBatchError(f"unexpected {type(error).__name__}: {message} (the log has the trace; please report it)")


def fail(context: RunContext, job: Job, record: JobRecord, error: Exception) -> JobOutcome:
    """Record that a job failed for good, and say so.

    Raises:
        OutputLostError: nothing of any job can be written.
    """
    return publish_failed(context, job, *failed(record, error))


def failed(record: JobRecord, error: Exception) -> tuple[JobRecord, BirefnetBatchError]:
    """The record of a job that failed for good, not written yet, and the error as it is told."""
    known = described(error)
    ledger = Ledger(record)
    unexpected = known is not error and not isinstance(error, OSError) and not is_unwell(error)
    kind = type(error if unexpected else known).__name__
    before = [redact_text(note) for note in getattr(error, "__notes__", ())]
    ledger.note(
        status="failed",
        error=ErrorRecord(kind, redact_text(str(known)) or type(error).__name__),
        notes=[*record.notes, *before],
        reproducible=record.reproducible and not before,
        timings={**record.timings, "total": round(ledger.seconds, 3)},
        finished=utc_now(),
    )
    return ledger.record, known


def publish_failed(context: RunContext, job: Job, record: JobRecord, known: BirefnetBatchError) -> JobOutcome:
    """Write what `failed` gave; the job's outcome.

    Raises:
        OutputLostError: nothing of any job can be written.
    """
    assert record.error is not None
    message = record.error.message
    try:
        if publish_failure(context.output, job, record):
            message = f"{message}; the complete result of an earlier run stays in {context.output.uri(job.folder)}"
    except (BirefnetBatchError, OSError) as second:
        # Otherwise all that are left would be worked on for nothing, and fail.
        context.output.check_jobs()
        message = f"{message}; and its record cannot be written: {redact_text(str(second))}"
    return JobOutcome(job, "failed", seconds=Ledger(record).seconds, error=message, exception=known)
