"""Files that only one may create, on disks with hard links and without."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import OutputError, OutputLostError
from birefnet_batch.storage.local_store import LocalStore


def refuse_with(number: int) -> Callable[..., None]:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture(params=[None, "EPERM", "EOPNOTSUPP", "EIO", "EXDEV", "EACCES", "EINVAL"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """A disk with hard links, and those that have none, by what they answer: rclone's mounts EIO, others the rest."""
    if request.param is not None:
        monkeypatch.setattr(os, "link", refuse_with(getattr(errno, request.param)))
    return LocalStore(tmp_path)


def test_of_two_that_create_a_file_the_first_wins(store: LocalStore) -> None:
    assert store.create("folder/lease", b"first")
    assert not store.create("folder/lease", b"second")
    assert store.get("folder/lease") == b"first"
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == ["lease"]


def test_a_file_that_could_not_be_written_whole_is_not_there(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("fsync", "link"):
        monkeypatch.setattr(os, call, refuse_with(errno.ENOSPC))
    with pytest.raises(OutputError, match="lease cannot be written: no space left"):
        store.create("folder/lease", b"content")
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_a_file_whose_closing_is_refused_is_not_there_where_there_are_no_links(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(io.FileIO):
        def close(self) -> None:
            closed = self.closed
            super().close()
            if not closed:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    opened = Path.open

    def opening(path: Path, mode: str = "r", *others: Any) -> Any:
        return Refused(path, "x") if mode == "xb" else opened(path, mode, *others)

    monkeypatch.setattr(os, "link", refuse_with(errno.EPERM))
    monkeypatch.setattr(Path, "open", opening)
    with pytest.raises(OutputError, match="lease cannot be written: disk quota exceeded; make room there"):
        store.create("folder/lease", b"content")
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_a_file_is_created_though_the_disk_does_not_let_go_of_its_temporary_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "unlink", refuse_with(errno.ESTALE))
    assert store.create("folder/lease", b"content")
    assert store.get("folder/lease") == b"content"


def test_a_file_that_the_disk_does_not_let_go_of_is_an_error_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))

    monkeypatch.setattr(Path, "unlink", busy)
    with pytest.raises(OutputError, match="jobs/a/complete-x cannot be removed: device or resource busy$"):
        LocalStore(tmp_path).remove("jobs/a/complete-x")


def test_a_folder_that_takes_nothing_is_lost_and_one_without_room_is_not(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.check_folder("jobs")
    assert list((store.root / "jobs").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse_with(errno.ENOSPC))
        store.check_folder("jobs")
        patch.setattr(os, "mkdir", refuse_with(errno.EROFS))
        with pytest.raises(OutputLostError, match=r"in .*\.scratch any more: read-only file system; mend its rights"):
            store.check_folder("jobs")
    (store.root / "jobs").rmdir()
    (store.root / "jobs").write_text("in the way")
    with pytest.raises(OutputLostError, match="in .*jobs any more: file exists"):
        store.check_folder("jobs")
