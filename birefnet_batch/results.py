"""job.json, the record of a video, written and read; and result.json read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from birefnet_batch.output_files import RECORD, RESULT, job_file
from birefnet_batch.result import Result
from birefnet_batch.storage.stores import Store

SCHEMA_VERSION: Literal[1] = 1
Outcome = Literal["succeeded", "failed", "skipped"]
READ_AT_ONCE = 16
"""Records that are read side by side where many are: those of a bucket wait for the network, not for us."""
REASONS = frozenset(("why", "asked", "instead_of", "batch_size_why"))
"""What an engine's record says of why it or its batch was chosen, which changes no byte."""
OF_EARLIER_RUN = "segments are of run"
"""In notes: of a video that a run went on with, `timings.total` is the time of a part."""
_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class SourceRecord:
    """The input as it was found."""

    __pydantic_config__ = _DOCUMENTED

    uri: str
    """The source's URI without credentials."""
    size: int | None = None
    """Bytes."""
    fingerprint: str | None = None
    """Size and mtime, or the ETag: what the key is made of."""
    sha256: str | None = None
    """Digest of the content, taken while it was read."""
    width: int | None = None
    """Pixels, as displayed."""
    height: int | None = None
    """Pixels, as displayed."""
    frames: int | None = None
    """Frames that were read."""
    corrupt_frames: int | None = None
    """Frames that could not be decoded, or only in part: `media.corrupt_frames` says what was done with them."""
    duration: float | None = None
    """Seconds, as the container declares."""
    container: str | None = None
    codec: str | None = None
    audio_tracks: int | None = None


@dataclass(frozen=True)
class ModelRecord:
    """The network that made the mattes."""

    __pydantic_config__ = _DOCUMENTED

    name: str
    """What the request calls the model."""
    network: str
    """The configuration of the network."""
    weights: str
    """Where the weights came from: a file, or a hub repository with its revision."""
    weights_sha256: str
    licence: str | None = None
    """The licence of the weights, as the registry or the `models` setting says."""


@dataclass(frozen=True)
class ErrorRecord:
    """Why a job failed."""

    __pydantic_config__ = _DOCUMENTED

    type: str
    """The error's class."""
    message: str


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt that was lost."""

    __pydantic_config__ = _DOCUMENTED

    worker: str
    """Who made it: `local`, or a worker of a cluster."""
    type: str
    """The error's class."""
    message: str
    ended: str
    """UTC, ISO 8601."""
    node: str | None = None
    """The worker's machine in a cluster: its host name, and the node's id there."""
    step: str | None = None
    """What was tried: `begin` (the preparation, and all of a video that is not cut), `segment` or `join`."""
    segment: int | None = None
    """Which segment, from 0, when it was one."""


@dataclass(frozen=True)
class JobRecord:
    """job.json: all that was asked for, used and done for one video, written for failures too."""

    __pydantic_config__ = _DOCUMENTED

    job_id: str
    status: Literal["succeeded", "failed"]
    request: dict[str, Any]
    """The canonical request, its URL without credentials."""
    source: SourceRecord
    attempts: int = 1
    """Tries in this run, at the video or at any of its segments: those that were lost, and the last."""
    key: str | None = None
    """Digest of all that decides the result; names the completion marker."""
    model: ModelRecord | None = None
    engine: dict[str, Any] | None = None
    """Engine family and version, device, precision, batch and thread counts."""
    media: dict[str, Any] = field(default_factory=dict)
    """The media settings, the encoder's thread count among them, and `encoder`, libav's name of what was used."""
    segments: int | None = None
    timings: dict[str, float] = field(default_factory=dict)
    """Busy seconds per stage, and `total`, the seconds from start to finish."""
    outputs: dict[str, str] = field(default_factory=dict)
    """`video`, `mask_video` and `result`: paths relative to the output root. No media with sync_mode."""
    outputs_sha256: dict[str, str] = field(default_factory=dict)
    """Digests of the media files."""
    reproducible: bool = True
    """False where something that the settings do not decide had a part: memory ran out and the batch was halved, or
    segments are of different engines, batches or kinds of machines."""
    notes: list[str] = field(default_factory=list)
    """What was done otherwise than asked or than the model gives: an audio track left out, a side padded, mattes that a
    half precision changes."""
    error: ErrorRecord | None = None
    history: list[AttemptRecord] = field(default_factory=list)
    """Attempts that were lost before the one that this record is of."""
    started: str = ""
    """UTC, ISO 8601."""
    finished: str = ""
    """UTC, ISO 8601."""
    run_id: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of this package and of the libraries that decide the result."""
    git_revision: str | None = None
    """The commit of the checkout that made it, `-dirty` after changes; absent for an installed package."""
    machine: dict[str, Any] = field(default_factory=dict)
    """The hardware and drivers that made it."""
    schema_version: Literal[1] = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The record as it is written."""
        return pretty_json(_RECORDS.dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, data: bytes) -> JobRecord:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is no job record of this schema version.
        """
        return _RECORDS.validate_json(data)


_RECORDS: TypeAdapter[JobRecord] = TypeAdapter(JobRecord)


def pretty_json(value: Mapping[str, Any]) -> bytes:
    """A document for people and programs: indented, UTF-8, ended by a newline."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_record(store: Store, job_id: str, name: str = RECORD) -> JobRecord | None:
    """A job's record, or that of its failed attempt; None where there is none that can be read.

    Raises:
        OutputError: the output cannot be read.
    """
    content = store.get(job_file(job_id, name))
    try:
        return None if content is None else JobRecord.from_json(content)
    except ValidationError:
        return None


def read_result(store: Store, job_id: str) -> Result | None:
    """A job's result.json; None where there is none that can be read.

    Raises:
        OutputError: the output cannot be read.
    """
    try:
        return Result.from_dict(json.loads(store.get(job_file(job_id, RESULT)) or b""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
