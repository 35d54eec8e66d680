"""Put a job's files under their final names, in an order that never shows a half-done job as complete.

Markers of other keys go first; then media, result.json, job.json and, last, the marker named with the key.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from birefnet_batch.digests import file_sha256
from birefnet_batch.errors import BirefnetBatchError, OutputError
from birefnet_batch.jobs import Job, is_marker, marker
from birefnet_batch.output_files import FAILED, RECORD, RESULT
from birefnet_batch.result import Result, VideoFile
from birefnet_batch.results import JobRecord, pretty_json, read_result
from birefnet_batch.storage import Output
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.versions import git_revision, machine
from birefnet_batch.video.encode import EncodeSpec, Kind
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.join import JoinedFacts

_SYNC_NOTE = "sync_mode: the media are data URIs in result.json, and no media file is kept"
_FIELDS: dict[Kind, str] = {"video": "video", "mask": "mask_video"}


@dataclass(frozen=True)
class Media:
    """A finished media file that waits under a temporary name."""

    kind: Kind
    staged: Path
    file_name: str
    content_type: str
    facts: JoinedFacts

    @classmethod
    def from_join(cls, kind: Kind, job: Job, spec: EncodeSpec, staged: Path, facts: JoinedFacts) -> Media:
        """Name the file that `join` wrote."""
        form = format_of(spec.output_type)
        return cls(kind, staged, job.media_name(mask=kind == "mask"), form.content_type, facts)

    def to_video_file(self, url: str) -> VideoFile:
        """The API's description of the file."""
        facts = self.facts
        return VideoFile(
            content_type=self.content_type,
            duration=facts.duration_s,
            file_name=self.file_name,
            fps=facts.fps,
            height=facts.height,
            num_frames=facts.frames,
            url=url,
            width=facts.width,
            file_size=facts.size,
        )


def publish(output: Output, job: Job, record: JobRecord, media: list[Media]) -> Result:
    """Publish a job that succeeded.

    Args:
        output: where to.
        job: the job.
        record: its record, complete but for `outputs` and `outputs_sha256`.
        media: the staged files; gone afterwards.

    Returns:
        The API's output, its URLs absolute (data URIs with sync_mode).

    Raises:
        OutputError: a file cannot be written, or with sync_mode a data URI would be longer than it may be; nothing
            then says that the job is complete, but for a result of before of which nothing was replaced yet.
    """
    key = record.key
    assert key is not None
    if job.request.sync_mode:
        _check_length(media, output.settings.max_data_uri_bytes)
        record = replace(record, notes=[*record.notes, _SYNC_NOTE])
    files: dict[str, VideoFile] = {}
    outputs: dict[str, str] = {}
    digests: dict[str, str] = {}
    # What takes long comes first: whoever is killed while the markers are away leaves a result that is not complete.
    for item in media:
        name = _FIELDS[item.kind]
        digests[name] = file_sha256(item.staged)
        if job.request.sync_mode:
            files[name] = item.to_video_file(_data_uri(item))
            item.staged.unlink()
        else:
            outputs[name] = job.file(item.file_name)
            files[name] = item.to_video_file(output.uri(outputs[name]))
    before = output.list(job.folder)
    with _without_markers(output, job, before):
        if not job.request.sync_mode:
            for item in media:
                output.publish(item.staged, outputs[_FIELDS[item.kind]], item.content_type)
        result = Result(files["video"], files.get("mask_video"))
        outputs["result"] = job.file(RESULT)
        output.write(outputs["result"], pretty_json(result.to_dict()))
        record = replace(with_machine(record), outputs=outputs, outputs_sha256=digests)
        output.write(job.file(RECORD), record.to_json())
        if FAILED in before:
            # Before the marker: whoever is killed between them leaves a job that is done again, and no stale failure.
            output.remove(job.file(FAILED))
        output.write(job.file(marker(key)), b"")
    return result


@contextmanager
def _without_markers(output: Output, job: Job, before: list[str]) -> Iterator[None]:
    """Remove the markers of a result; they come back when what follows ends before it has touched the result."""
    markers = list(filter(is_marker, before))
    result = [name for name in before if name not in markers]

    def versions() -> list[str | None]:
        return [output.version(job.file(name)) for name in result]

    known = versions() if markers else []
    try:
        for name in markers:
            output.remove(job.file(name))
        yield
    except BaseException as error:
        # An upload that is interrupted goes on in its own thread, and could replace a file after it was looked at.
        over = isinstance(error, Exception) or isinstance(output.store, LocalStore)
        # Looked at, for a file may be replaced although its storage's answer was an error, or none.
        with suppress(BirefnetBatchError, OSError):
            if over and None not in known and versions() == known:
                for name in markers:
                    output.write(job.file(name), b"")
        raise


def publish_failure(output: Output, job: Job, record: JobRecord) -> bool:
    """Record that a job failed.

    A complete result goes only when another takes its place: it stays as it is, right for the input, weights and
    settings that its record names, and the attempt that failed is recorded beside it, in failed.json. Of one that is
    not complete our own files go; others' in the folder stay.

    Returns:
        Whether there is a complete result.
    """
    names = output.list(job.folder)
    if any(map(is_marker, names)):
        output.write(job.file(FAILED), with_machine(record).to_json())
        return True
    for name in {RECORD, RESULT, FAILED, job.media_name(False), job.media_name(True)}.intersection(names):
        output.remove(job.file(name))
    output.write(job.file(RECORD), with_machine(record).to_json())
    return False


def with_machine(record: JobRecord) -> JobRecord:
    """The record with the machine and the revision of the code at hand; those of a cluster's worker it has already."""
    if record.machine:
        return record
    return replace(record, git_revision=git_revision(), machine=machine())


def complete_result(output: Output, job: Job) -> Result:
    """The result of a complete job; its files are where the output is now, and not where it was once.

    Raises:
        OutputError: result.json is gone or damaged.
    """
    result = read_result(output.store, job.job_id)
    if result is None:
        raise OutputError(
            f"{output.uri(job.file(RESULT))} cannot be read although its job is marked complete; run it again "
            "with resume=force"
        )
    mask = result.mask_video
    return Result(_here(output, job, result.video), None if mask is None else _here(output, job, mask))


def _here(output: Output, job: Job, file: VideoFile) -> VideoFile:
    return file if scheme_of(file.url) == "data" else replace(file, url=output.uri(job.file(file.file_name)))


def _check_length(media: list[Media], most: int) -> None:
    for item in media:
        length = len(f"data:{item.content_type};base64,") + (item.staged.stat().st_size + 2) // 3 * 4
        if length > most:
            raise OutputError(
                f"{item.file_name} would be a data URI of {length} bytes, more than storage.max_data_uri_bytes={most}; "
                "raise the setting, ask for a lower video_quality, or give sync_mode=false for a file"
            )


def _data_uri(item: Media) -> str:
    return f"data:{item.content_type};base64,{base64.b64encode(item.staged.read_bytes()).decode('ascii')}"
