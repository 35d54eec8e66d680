"""What is left of scratch folders, on file systems that refuse some of what ext4 does."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import OutputError
from birefnet_batch.storage import Output


@pytest.mark.parametrize(
    ("call", "number"), [("is_dir", errno.ENOTCONN), ("unlink", errno.ESTALE), ("iterdir", errno.EIO)]
)
def test_a_place_that_is_lost_hides_no_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, number: int
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(OutputError, match="the first error"), Output(str(tmp_path / "out"), "run") as output:
        (output.scratch / "unfinished").touch()
        monkeypatch.setattr(Path, call, refuse)
        raise OutputError("the first error")
    monkeypatch.undo()
    told = f"scratch space may stay in {output.scratch}: {os.strerror(number).lower()} ({output.scratch}"
    assert told in caplog.text
