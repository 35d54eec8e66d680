"""What is done where a file system cannot do all that a disk does."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from birefnet_batch.storage.durable import rename_durably


@pytest.mark.parametrize(("kind", "number"), [("folder", errno.EINVAL), ("folder", errno.EIO), ("file", errno.EINVAL)])
def test_a_file_is_renamed_where_folders_cannot_be_synced_and_no_error_of_a_disk_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, number: int
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (kind == "folder"):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "staged").write_text("content")
    if (kind, number) == ("folder", errno.EINVAL):
        rename_durably(tmp_path / "staged", tmp_path / "out" / "final")
        assert (tmp_path / "out" / "final").read_text() == "content"
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            rename_durably(tmp_path / "staged", tmp_path / "out" / "final")
