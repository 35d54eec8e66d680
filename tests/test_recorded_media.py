"""Media of a record as local files, whatever the limits are for what requests name."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.recorded_media import bring_media
from birefnet_batch.result import Result, VideoFile
from birefnet_batch.results import JobRecord, SourceRecord, pretty_json
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.local_store import LocalStore


def test_a_result_that_is_larger_than_an_input_may_be_is_brought(tmp_path: Path) -> None:
    store, content = LocalStore(tmp_path / "out"), b"a result" * 100
    url = f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
    result = Result(VideoFile("video/mp4", 1.0, "video.mp4", 4.0, 48, 4, url, 64, file_size=len(content)))
    store.put("jobs/a/result.json", pretty_json(result.to_dict()))
    record = JobRecord("a", "succeeded", {}, SourceRecord("clip.mp4"), outputs={"result": "jobs/a/result.json"})
    closed = StorageSettings(allow_schemes=["https"], max_input_bytes=10)
    bring_media(store, closed, record, "video", tmp_path / "brought")
    assert (tmp_path / "brought").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"video": {"con', b"[]", b"{}", b'{"video": {}}', None])
@pytest.mark.parametrize("outputs", [{"result": "jobs/a/result.json"}, {}])
def test_of_a_result_that_is_damaged_or_gone_one_error_tells(
    tmp_path: Path, content: bytes | None, outputs: dict[str, str]
) -> None:
    store = LocalStore(tmp_path / "out")
    if content is not None:
        store.put("jobs/a/result.json", content)
    record = JobRecord("a", "succeeded", {}, SourceRecord("clip.mp4"), outputs=outputs)
    with pytest.raises(OutputError, match="the mask_video was in it; run it again with resume=force"):
        bring_media(store, StorageSettings(), record, "mask_video", tmp_path / "brought")
