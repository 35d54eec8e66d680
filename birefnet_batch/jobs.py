"""One video of a run: its identity, the key of its result, and where its files are."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from birefnet_batch.digests import known_sha256
from birefnet_batch.errors import InputError, RequestError
from birefnet_batch.models.registry import Catalogue
from birefnet_batch.output_files import JOBS, RECORD, RESULT, job_file
from birefnet_batch.request import Request, named
from birefnet_batch.same_video import same_but_for_secrets, spelt_alike
from birefnet_batch.settings import MediaSettings
from birefnet_batch.stems import stem_of
from birefnet_batch.uris import canonical_uri
from birefnet_batch.url_redaction import redact
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.hardware import encoder_of
from birefnet_batch.video.look import look_of

_log = logging.getLogger(__name__)
# Raise it when the same request and settings give other media than before: the network's or codecs' use changed.
PIPELINE_VERSION = 16
_MARKER = "complete-"
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=True)


@dataclass(frozen=True)
class Job:
    """A request with the identity that names its files.

    `job_id` is a readable stem and a digest of the canonical request and the source URI without credentials, so
    that the same video asked for in the same way has the same folder in every run.
    """

    request: Request
    uri: str
    """The source's canonical URI, credentials included: never written or logged."""
    job_id: str
    stem: str

    @classmethod
    def from_request(cls, request: Request, base: Path | None = None) -> Job:
        """The job of a request whose relative path is relative to `base` (the working folder).

        Raises:
            InputError: the URL cannot be read, or its scheme is not one that this version reads.
        """
        uri = canonical_uri(request.video_url, base or Path.cwd())
        identity = {**request.to_dict(), "video_url": redact(uri)}
        stem = stem_of(uri)
        return cls(request, uri, f"{stem}-{_digest(identity)[:12]}", stem)

    @cached_property
    def display_uri(self) -> str:
        """The source's URI, fit for files and logs."""
        return redact(self.uri)

    @property
    def folder(self) -> str:
        """The job's folder relative to the output."""
        return f"{JOBS}/{self.job_id}"

    def media_name(self, mask: bool) -> str:
        """The file name of the job's video, or of its mask."""
        suffix = format_of(self.request.video_output_type).suffix
        return f"{self.stem}{'_mask' if mask else ''}{suffix}"

    def is_complete(self, names: Collection[str], key: str) -> bool:
        """Whether the files in the job's folder are those of a complete job with this key."""
        # With sync_mode the media are in result.json.
        masks = () if self.request.sync_mode else (False, True) if self.request.output_mask else (False,)
        needed = (marker(key), RESULT, RECORD, *(self.media_name(mask) for mask in masks))
        return all(name in names for name in needed)

    def file(self, name: str) -> str:
        """The path of one of the job's files relative to the output."""
        return job_file(self.job_id, name)


def distinct_jobs(
    requests: Iterable[Request | Mapping[str, Any]], models: Catalogue
) -> tuple[list[Job], dict[str, InputError | RequestError]]:
    """The jobs of requests, each once, and why there are none of others; how many repeat others is logged.

    Refused are arguments of a call that are wrong, a model that there is not, a URL that cannot be read, and one that
    differs from an earlier one in nothing but its secrets.

    Args:
        requests: Requests, or the arguments of API calls.
        models: those that a request may name.

    Returns:
        The jobs, and the errors of what is refused by its place.
    """
    jobs: dict[str, Job] = {}
    refused: dict[str, InputError | RequestError] = {}
    base = Path.cwd()
    count = 0
    for request in requests:
        place = f"requests[{count}]"
        count += 1
        try:
            job = Job.from_request(_known(request, models), base)
            if not spelt_alike(jobs.setdefault(job.job_id, job).uri, job.uri):
                raise same_but_for_secrets(job.display_uri, "that of an earlier request")
        except RequestError as error:
            refused[f"{place}{named(request)}"] = error
        except InputError as error:
            refused[place] = error
    if repeated := count - len(jobs) - len(refused):
        _log.info("left out as repetitions of others: %d of %d requests", repeated, count)
    return list(jobs.values()), refused


def _known(request: Request | Mapping[str, Any], models: Catalogue) -> Request:
    """A request of one of these models.

    Raises:
        RequestError: it names none of them, or the arguments of a call are wrong.
    """
    if not isinstance(request, Request):
        return Request.from_dict(request, models)
    if request.model not in models.names:
        problem = (
            f"model: {request.model!r} is none of the models of the settings: {', '.join(map(repr, models.names))}; "
            "a model of your own needs settings=Settings(models=...) with its entry"
        )
        raise RequestError(f"The request{named(request)} has problems", [problem])
    return request


def job_key(job: Job, fingerprint: str, weights_sha256: str, precision: str, media: MediaSettings) -> str:
    """The digest of all that decides a result: a change of any of it means that the job is to be done again.

    The engine's family, batch and threads are not in it: they decide the last bits, not the result, and are
    recorded in job.json. `decode_timeout_s` decides nothing.
    """
    return _digest(
        {
            "pipeline": PIPELINE_VERSION,
            "job_id": job.job_id,
            "fingerprint": fingerprint,
            "weights": weights_sha256,
            "precision": precision,
            **_look(job, media),
            "audio": media.audio,
            "encoder": encoder_of(format_of(job.request.video_output_type), media),
            "encoder_threads": media.encoder_threads,
            "segment_frames": media.segment_frames,
            "corrupt_frames": media.corrupt_frames.value,
            "deinterlace": media.deinterlace_wish,
        }
    )[:24]


def _look(job: Job, media: MediaSettings) -> dict[str, Any]:
    """What is around the subject: of a file its content, wherever it is."""
    look = look_of(format_of(job.request.video_output_type), media)
    path = look.backdrop.path
    if path is None:
        return look.to_dict()
    return {**look.to_dict(), "background": known_sha256(path)}


def marker(key: str) -> str:
    """The name of the file that says that the job with this key is complete."""
    return f"{_MARKER}{key}"


def is_marker(name: str) -> bool:
    """Whether a file name is that of a completion marker, with whatever key."""
    # A video may be called so; its file has a suffix.
    return name.startswith(_MARKER) and "." not in name


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()
