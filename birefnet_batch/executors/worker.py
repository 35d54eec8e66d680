"""Jobs one after another on one set of engines, with retries; what any executor runs."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from types import TracebackType

from birefnet_batch.errors import BirefnetBatchError, OutputError
from birefnet_batch.executors.attempt import Attempt
from birefnet_batch.executors.base import JobOutcome, Observer, RunContext
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.jobs import Job
from birefnet_batch.publish import publish_failure
from birefnet_batch.results import ErrorRecord, JobRecord, utc_now
from birefnet_batch.uris import redact_text

_log = logging.getLogger(__name__)


class Worker:
    """Runs jobs one at a time and keeps its engines open between them; a context that closes them."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._engines = EngineCache(context.settings)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engines.__exit__(kind, error, trace)

    def run(self, job: Job, observer: Observer) -> JobOutcome:
        """Do one job, with further attempts after errors that may pass; a failure is the outcome."""
        retries = self._context.settings.executor.max_retries
        started = time.perf_counter()
        for number in range(1, retries + 2):
            attempt = Attempt(self._context, self._engines, job, number, observer)
            try:
                outcome = attempt.run()
            except BirefnetBatchError as error:
                if error.retryable and number <= retries:
                    _log.warning("%s; trying again", redact_text(str(error)))
                    continue
                return self._failed(job, attempt.record, error, started)
            except OSError as error:
                named = f"{error.filename} cannot be used" if error.filename else "the system refused"
                reason = (error.strerror or str(error)).lower()
                problem = OutputError(f"{named}: {reason}; mend its rights, or choose another output folder")
                return self._failed(job, attempt.record, problem, started)
            except Exception as error:
                # A defect of ours or of a library costs this video, with its trace in the log, and no other.
                _log.exception("%s failed unexpectedly", job.display_uri)
                return self._failed(job, attempt.record, error, started)
            return replace(outcome, seconds=time.perf_counter() - started)
        raise AssertionError("the last attempt returns")

    def _failed(self, job: Job, record: JobRecord, error: Exception, started: float) -> JobOutcome:
        message = redact_text(str(error)) or type(error).__name__
        if not isinstance(error, BirefnetBatchError):
            message = f"unexpected {type(error).__name__}: {message} (the log has the trace; please report it)"
        seconds = time.perf_counter() - started
        failed = replace(
            record,
            status="failed",
            error=ErrorRecord(type(error).__name__, message),
            timings={**record.timings, "total": round(seconds, 3)},
            finished=utc_now(),
        )
        try:
            publish_failure(self._context.output, job, failed)
        except (BirefnetBatchError, OSError) as second:
            message = f"{message}; and its record cannot be written: {redact_text(str(second))}"
        known = error if isinstance(error, BirefnetBatchError) else BirefnetBatchError(message)
        return JobOutcome(job, "failed", seconds=seconds, error=message, exception=known)
