"""Repeat videos of a run into scratch space and compare them with what the run left."""

from __future__ import annotations

import math
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from birefnet_batch.batch import run
from birefnet_batch.digests import file_sha256
from birefnet_batch.errors import BirefnetBatchError, ConfigError
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.jobs import is_marker
from birefnet_batch.media_difference import Difference, compare_media
from birefnet_batch.output_files import JOBS
from birefnet_batch.progress import Progress
from birefnet_batch.recorded_media import bring_media
from birefnet_batch.recorded_settings import read_settings, repeating
from birefnet_batch.refusals import one_line
from birefnet_batch.request import Request
from birefnet_batch.results import READ_AT_ONCE, REASONS, JobRecord, read_record, read_result
from birefnet_batch.settings import Settings, StorageSettings
from birefnet_batch.storage.stores import Store, open_store
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.versions import DECIDING

Verdict = Literal["identical", "close", "differs", "unavailable"]
# What other hardware may make of the same numbers: the last bits of logits, seldom a step of eight bits, and what a
# lossy encoder makes of that.
LEAST_PSNR_DB = 40.0
MOST_MATTE_ERROR = 1 / 255


@dataclass(frozen=True)
class Comparison:
    """One repeated video."""

    job_id: str
    input: str
    verdict: Verdict
    psnr_db: float | None = None
    """Of the cut-out's frames and their transparency, the lowest; None when the files are identical."""
    matte_error: float | None = None
    """Mean absolute difference of the mask's frames or of the cut-out's transparency, whichever is more, in [0, 1];
    None when identical, or when there is neither."""
    reason: str = ""


def verify(
    store: Store,
    storage: StorageSettings,
    scratch: Path,
    *,
    sample: int | None = None,
    seed: int = 0,
    progress: Callable[[int], Progress],
) -> list[Comparison]:
    """Repeat a run's videos, all or some, and compare.

    Files must be identical where machine, versions, engine, encoder and counts are those of the record; elsewhere
    frames must be close: PSNR of at least `LEAST_PSNR_DB`, a matte error of at most `MOST_MATTE_ERROR`.

    Args:
        store: the output of the run.
        storage: how sources and the output are reached; secrets of the run are in no file.
        scratch: a folder on this machine for the repeats.
        sample: how many videos that succeeded, chosen by chance; None is all.
        seed: which chance.
        progress: given the number of videos of each run, shows it.

    Raises:
        ConfigError: the output has no video that succeeded.
        OutputError: the output cannot be read.
    """
    records, damaged = succeeded_records(store, sample, seed)
    if not records and not damaged:
        reason = store.absence() or "there is nothing to verify"
        raise ConfigError(f"{store.shown} has no video that succeeded: {reason}")
    unreadable = "its job.json is gone or damaged"
    compared = [
        Comparison(job_id, f"{JOBS}/{job_id}", "unavailable", reason=f"{unreadable}; {_again(job_id)}")
        for job_id in damaged
    ]
    runs: dict[str, list[JobRecord]] = defaultdict(list)
    for record in records:
        if scheme_of(record.source.uri) == "data":
            compared.append(_unavailable(record, "its input was a data URI, which no record keeps"))
        else:
            runs[record.run_id].append(record)
    groups: dict[str, list[JobRecord]] = defaultdict(list)
    settings: dict[str, Settings] = {}
    for run_id, made in runs.items():
        try:
            # Once for each run: a bucket is asked, and validation takes a while.
            theirs = read_settings(store, run_id)
        except BirefnetBatchError as error:
            compared += [_unavailable(record, str(error)) for record in made]
            continue
        for record in made:
            repeat = repeating(theirs, record, storage)
            name = str(repeat.to_dict())
            groups[name].append(record)
            settings[name] = repeat
    for number, (name, group) in enumerate(groups.items()):
        place = scratch / f"repeat-{number}"
        compared += _repeat(store, storage, place, settings[name], group, progress(len(group)))
        shutil.rmtree(place, ignore_errors=True)
    return sorted(compared, key=lambda item: item.job_id)


def succeeded_records(store: Store, sample: int | None, seed: int) -> tuple[list[JobRecord], list[str]]:
    """The records of complete videos, and the complete videos whose record cannot be read, by job.

    Of a sample no more records are read than it takes: what is damaged among the others is not found.
    """
    names = sorted({folder for folder, name in store.walk(JOBS) if is_marker(name)})
    wanted = len(names) if sample is None else sample
    if wanted < len(names):
        random.Random(seed).shuffle(names)
    found: list[JobRecord] = []
    damaged: list[str] = []
    with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="records") as pool:
        while names and (missing := wanted - len(found)):
            drawn, names = names[:missing], names[missing:]
            for job_id, record in zip(drawn, pool.map(partial(read_record, store), drawn), strict=True):
                if record is None:
                    damaged.append(job_id)
                elif record.status == "succeeded":
                    found.append(record)
    return sorted(found, key=lambda record: record.job_id), damaged


def _repeat(
    store: Store,
    storage: StorageSettings,
    place: Path,
    settings: Settings,
    records: Sequence[JobRecord],
    progress: Progress,
) -> list[Comparison]:
    """Repeat videos that have the same settings; what cannot be is `unavailable`, and costs no other its verdict."""
    failures: dict[str, str] = {}
    ended = "it was not repeated"

    def note(outcome: JobOutcome) -> None:
        if outcome.status == "failed":
            failures[outcome.job.job_id] = outcome.error or ""

    try:
        requests = [Request.from_dict(record.request, settings.catalogue) for record in records]
        run(replace(settings, output=str(place)), requests, progress=progress, command=["verify"], on_outcome=note)
    except (BirefnetBatchError, OSError) as error:
        ended = f"it was not repeated: {error}"
    repeated = open_store(str(place), StorageSettings())
    compared = []
    for record in records:
        second = read_record(repeated, record.job_id)
        if record.job_id in failures or second is None:
            compared.append(_unavailable(record, failures.get(record.job_id, ended)))
            continue
        try:
            compared.append(_compare(store, storage, repeated, place, record, second))
        except (BirefnetBatchError, OSError) as error:
            compared.append(_unavailable(record, str(error)))
        # The next one's files need the room.
        shutil.rmtree(place / JOBS / record.job_id, ignore_errors=True)
    return compared


def _compare(
    store: Store, storage: StorageSettings, repeated: Store, place: Path, first: JobRecord, second: JobRecord
) -> Comparison:
    if second.source.sha256 != first.source.sha256:
        return _unavailable(first, "its source has changed since")
    if _weights(first) != _weights(second):
        return _unavailable(first, "its weights are other ones than those that it was made with")
    if not _fits(store, first):
        reason = f"its result.json is gone or damaged, or is of other files; {_again(first.job_id)}"
        return Comparison(first.job_id, first.source.uri, "differs", reason=reason)
    there = store.names(f"{JOBS}/{first.job_id}")
    for name, recorded in first.outputs_sha256.items():
        if name in first.outputs and PurePosixPath(first.outputs[name]).name not in there:
            return _unavailable(first, f"its {name} is gone; the command of its run makes it again")
        kept = place / f"kept-{name}"
        bring_media(store, storage, first, name, kept)
        if file_sha256(kept) != recorded:
            changed_since = f"its {name} is not what its record describes: it was changed after it was written"
            return Comparison(
                first.job_id, first.source.uri, "differs", reason=f"{changed_since}; {_again(first.job_id)}"
            )
    if second.outputs_sha256 == first.outputs_sha256:
        return Comparison(first.job_id, first.source.uri, "identical")
    worst = Difference()
    mattes: list[float] = []
    for name in first.outputs_sha256:
        ours, theirs = place / "ours", place / f"kept-{name}"
        bring_media(repeated, StorageSettings(), second, name, ours)
        difference = compare_media(theirs, ours)
        if name == "mask_video":
            mattes.append(difference.mean_error)
        else:
            worst = difference
            mattes += [] if difference.alpha_error is None else [difference.alpha_error]
    matte = max(mattes, default=None)
    changed = differing(first, second)
    other = f"made with another {', '.join(changed)}" if changed else "everything else is the same"
    near = worst.psnr_db >= LEAST_PSNR_DB and (matte is None or matte <= MOST_MATTE_ERROR) and not worst.reason
    if near and changed:
        return Comparison(first.job_id, first.source.uri, "close", _finite(worst.psnr_db), matte, other)
    return Comparison(first.job_id, first.source.uri, "differs", _finite(worst.psnr_db), matte, worst.reason or other)


def _again(job_id: str) -> str:
    return f"without the folder {JOBS}/{job_id} the command of its run makes it again"


def _weights(record: JobRecord) -> str | None:
    return None if record.model is None else record.model.weights_sha256


def _fits(store: Store, record: JobRecord) -> bool:
    """Whether a video's result.json is there and names the files of its record."""
    result = read_result(store, record.job_id)
    if result is None:
        return False
    files = {"video": result.video, "mask_video": result.mask_video}
    named = {name: file.file_name for name, file in files.items() if file is not None}
    return named.keys() == record.outputs_sha256.keys() and all(
        named[name] == PurePosixPath(record.outputs[name]).name for name in named if name in record.outputs
    )


def _finite(psnr_db: float) -> float | None:
    return round(psnr_db, 2) if math.isfinite(psnr_db) else None


def differing(first: JobRecord, second: JobRecord) -> list[str]:
    """What two records of the same work say that may make other bytes: machine, versions, engine, encoder, counts."""
    names = [name for name in DECIDING if first.machine.get(name) != second.machine.get(name)]
    names += [f"version of {name}" for name in first.versions if first.versions[name] != second.versions.get(name)]
    engines = (first.engine or {}, second.engine or {})
    told = [name for name in engines[0] if name not in REASONS]
    names += [f"engine {name}" for name in told if engines[0][name] != engines[1].get(name)]
    if first.media.get("encoder") != second.media.get("encoder"):
        names.append("encoder")
    if first.git_revision != second.git_revision:
        names.append("revision of the code")
    if not first.reproducible or not second.reproducible:
        names.append("batch, engine or machine for a part of it")
    return names


def _unavailable(record: JobRecord, reason: str) -> Comparison:
    return Comparison(record.job_id, record.source.uri, "unavailable", reason=one_line(reason))
