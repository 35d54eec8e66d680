"""Which jobs are complete already, from one listing of the output."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from birefnet_batch.errors import BirefnetBatchError, ConfigError
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.job_keys import find_key
from birefnet_batch.jobs import Job, is_marker
from birefnet_batch.output_files import JOBS
from birefnet_batch.settings import Resume, Settings
from birefnet_batch.storage import Output, SourceFacts
from birefnet_batch.storage.lookup import many_source_facts

_log = logging.getLogger(__name__)
# Sources that are asked one by one wait for the network, not for us.
_ASKED_AT_ONCE = 16


def split_complete(output: Output, settings: Settings, jobs: Iterable[Job]) -> tuple[list[Job], list[Job]]:
    """Tell jobs that are to be done from those that are complete, without opening a file.

    A job is complete when the marker named with its present key is there, and its files are. Its source is looked at
    only when it has a marker at all: a local file's folder entry, one listing for the objects of a bucket's folder, a
    URL's headers. What cannot be found out here (a source out of reach, missing weights) is left to the job's own
    attempt.

    Returns:
        The jobs to do and the complete ones, each in the order given.

    Raises:
        ConfigError: `resume=never`, and the output has jobs.
        OutputError: the output cannot be listed.
    """
    jobs = list(jobs)
    found: dict[str, set[str]] = defaultdict(set)
    for job_id, name in output.store.walk(JOBS):
        found[job_id].add(name)
    marked = [job for job in jobs if any(is_marker(name) for name in found.get(job.job_id, ()))]
    if settings.resume is Resume.never and found:
        raise ConfigError(
            f"output={output.shown} has {len(found)} jobs of earlier runs, and resume=never; give another output, "
            "resume=auto to go on with them, or resume=force to do them again"
        )
    if settings.resume is not Resume.auto:
        return jobs, []
    facts = many_source_facts([job.uri for job in marked], settings.storage, _ASKED_AT_ONCE)
    complete = _complete(settings, marked, facts, found)
    blind = [job for job in marked if job.job_id in complete and facts[job.uri].is_blind]
    if blind:
        _log.warning(
            "%d complete videos come from servers that name neither an ETag nor a Last-Modified (%s); that they are "
            "unchanged is known by their length alone; resume=force does them again",
            len(blind),
            blind[0].display_uri,
        )
    return [job for job in jobs if job.job_id not in complete], [job for job in jobs if job.job_id in complete]


def _complete(
    settings: Settings, jobs: list[Job], facts: dict[str, SourceFacts], found: dict[str, set[str]]
) -> set[str]:
    complete: set[str] = set()
    if not facts:
        return complete
    with EngineCache(settings) as engines:
        for job in jobs:
            if job.uri not in facts:
                continue
            try:
                key = find_key(engines, settings, job, facts[job.uri].fingerprint).key
            except (BirefnetBatchError, OSError):
                continue
            if job.is_complete(found[job.job_id], key):
                complete.add(job.job_id)
    return complete
