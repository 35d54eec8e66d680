"""Digests are remembered between processes, and never a wrong one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from birefnet_batch import digests
from birefnet_batch.digests import known_sha256

SIZE = 16 * 1024 * 1024


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digests._known.cache_clear()
    return tmp_path / "cache" / "birefnet-batch" / "digests"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    done: list[Path] = []
    real = digests.file_sha256
    monkeypatch.setattr(digests, "file_sha256", lambda path: (done.append(path), real(path))[1])
    return done


def large(path: Path, last: bytes = b"\1", age_s: int = 100) -> Path:
    with path.open("wb") as file:
        file.seek(SIZE - 1)
        file.write(last)
    stamp = path.stat().st_mtime_ns - age_s * 10**9
    os.utime(path, ns=(stamp, stamp))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_is_hashed_once_for_all_processes(tmp_path: Path, notes: Path, hashed: list[Path]):
    path = large(tmp_path / "weights")
    code = (
        "import pathlib, sys; from birefnet_batch.digests import known_sha256 as f; print(f(pathlib.Path(sys.argv[1])))"
    )
    words = [sys.executable, "-c", code, str(path)]
    racing = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate()[0].strip() for process in racing} == {sha256(path)}
    assert len(list(notes.iterdir())) == 1
    assert known_sha256(path) == sha256(path)
    assert hashed == []


def test_another_size_or_time_of_change_is_another_file(tmp_path: Path, notes: Path, hashed: list[Path]):
    path = large(tmp_path / "weights")
    known_sha256(path)
    large(path, last=b"\2", age_s=50)
    assert known_sha256(path) == sha256(path)
    assert len(hashed) == 2


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path, notes: Path):
    assert known_sha256(large(tmp_path / "weights", age_s=0)) == sha256(tmp_path / "weights")
    assert not notes.exists()


@pytest.mark.parametrize("note", [b"", b"[]", b'{"path": 1}', json.dumps({"sha256": "0" * 64}).encode()])
def test_a_spoiled_note_is_made_again(tmp_path: Path, notes: Path, note: bytes):
    path = large(tmp_path / "weights")
    known_sha256(path)
    (kept,) = notes.iterdir()
    right = kept.read_bytes()
    kept.write_bytes(note)
    digests._known.cache_clear()
    assert known_sha256(path) == sha256(path)
    assert kept.read_bytes() == right


def test_a_cache_folder_that_cannot_be_written_is_done_without(tmp_path: Path, notes: Path):
    notes.parent.parent.mkdir()
    notes.parent.write_text("in the way")
    path = large(tmp_path / "weights")
    assert known_sha256(path) == sha256(path)


def test_an_error_of_a_disk_while_a_file_is_read_names_the_file():
    # Opening it goes well, as on a disk that fails; nothing is mapped at its beginning.
    with pytest.raises(OSError, match="Input/output error") as refused:
        digests.file_sha256(Path("/proc/self/mem"))
    assert refused.value.filename == "/proc/self/mem"


def test_without_a_home_folder_digests_are_computed_and_nothing_is_left_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    monkeypatch.chdir(tmp_path)
    digests._known.cache_clear()
    path = large(tmp_path / "weights")
    assert known_sha256(path) == sha256(path)
    assert list(tmp_path.iterdir()) == [path]
