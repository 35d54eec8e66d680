"""What cannot be an input says so before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from http_site import SETTINGS

from birefnet_batch.errors import InputError
from birefnet_batch.storage import source_facts


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is no regular file; give a video file on disk"):
        source_facts((tmp_path / "pipe.mp4").as_uri(), SETTINGS)


def test_missing_inputs_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; check the path"):
        source_facts((tmp_path / "none.mp4").as_uri(), SETTINGS)
    with pytest.raises(InputError, match=f"is a folder; give manifest={tmp_path}"):
        source_facts(tmp_path.as_uri(), SETTINGS)
