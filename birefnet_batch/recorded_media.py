"""The media that a record names, as local files."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from birefnet_batch.errors import OutputError
from birefnet_batch.output_files import RESULT, job_file
from birefnet_batch.result import VideoFile
from birefnet_batch.results import JobRecord, read_result
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import open_source, source_facts
from birefnet_batch.storage.stores import Store
from birefnet_batch.uri_schemes import scheme_of


def bring_media(store: Store, storage: StorageSettings, record: JobRecord, name: str, target: Path) -> None:
    """Copy a media file of a job to a local one: from the output, or from the data URI in its result.

    Args:
        store: the output.
        storage: how it is reached.
        record: the job's.
        name: `video` or `mask_video`.
        target: the file to make.

    Raises:
        BirefnetBatchError: it cannot be had; an OutputError where the result that holds it is damaged or gone.
    """
    uri = store.uri(record.outputs[name]) if name in record.outputs else _uri_in_result(store, record, name)
    # The operator's limits are for what a request names; this is the output itself.
    open_to_us = replace(storage, allow_schemes=[scheme_of(uri)], max_input_bytes=sys.maxsize)
    with open_source(uri, source_facts(uri, open_to_us), target.parent, open_to_us) as source:
        source.complete()
        with source.path.open("rb") as content_file, target.open("wb") as copy:
            shutil.copyfileobj(content_file, copy, 1 << 20)


def _uri_in_result(store: Store, record: JobRecord, name: str) -> str:
    file: VideoFile | None = getattr(read_result(store, record.job_id), name, None)
    if file is None:
        raise OutputError(
            f"{store.shown}: {job_file(record.job_id, RESULT)} is damaged or gone, and the {name} was in it; run it "
            "again with resume=force"
        )
    return file.url
