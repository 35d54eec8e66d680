"""What is done where a file system cannot do all that a disk does."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from birefnet_batch.storage.durable import rename_durably, write_whole


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
        with pytest.raises(OSError, match=os.strerror(number)) as refused:
            rename_durably(tmp_path / "staged", tmp_path / "out" / "final")
        assert refused.value.filename == str(tmp_path / ("out" if kind == "folder" else "staged"))


def test_a_file_that_cannot_be_written_whole_is_the_one_before_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_whole(path, b"one")

    def full(file: int | Path, *_: bytes) -> None:
        name = None if isinstance(file, int) else str(file)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    # On a disk without room for a further file the temporary one cannot be made; otherwise it cannot be synced.
    for place, call in ((Path, "write_bytes"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(place, call, full)
            with pytest.raises(OSError, match="No space left") as refused:
                write_whole(path, b"another")
            assert refused.value.filename == str(path)
    assert path.read_bytes() == b"one"
    write_whole(path, b"another")
    assert path.read_bytes() == b"another"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_removed_meanwhile_is_not_made_again_by_a_late_writer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "record.json", b"")
    assert list(tmp_path.iterdir()) == []
