"""What a machine says of the inputs that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet_batch.executors.workspace import has_source
from birefnet_batch.jobs import Job
from birefnet_batch.request import Request
from birefnet_batch.settings import StorageSettings


@pytest.mark.parametrize(("url", "file"), [("shot/clip.mp4", "clip.mp4"), ("shot/f_%04d.png", "f_0001.png")])
def test_a_machine_without_the_folder_says_so_of_files_and_of_numbered_images(
    url: str, file: str, tmp_path: Path
) -> None:
    job = Job.from_request(Request(url), tmp_path)
    assert not has_source(job, StorageSettings())
    (tmp_path / "shot").mkdir()
    (tmp_path / "shot" / file).write_bytes(b"x")
    assert has_source(job, StorageSettings())


def test_of_a_remote_input_nothing_is_asked() -> None:
    assert has_source(Job.from_request(Request("http://127.0.0.1:9/clip.mp4")), StorageSettings())
