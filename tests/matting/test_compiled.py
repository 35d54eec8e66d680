"""Compiled functions work whatever befell the cache of them on the disk."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

from birefnet_batch.matting.compiled import compiled


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Gives a function as a new process has it: compiled by nothing yet, with the cache that is on the disk."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "doubling.py"
    path.write_text("def double(number):\n    return 2 * number\n")
    spec = importlib.util.spec_from_file_location("doubling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda: compiled(module.double)


@pytest.mark.parametrize("content", [b"", b"\0" * 100], ids=["empty", "zeros"])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(kind: str, content: bytes, fresh: Any, tmp_path: Path) -> None:
    assert fresh()(21) == 42
    (file,) = tmp_path.glob(f"cache/*/*.{kind}")
    whole = file.stat().st_size
    file.write_bytes(content)
    assert fresh()(21) == 42
    assert file.stat().st_size == pytest.approx(whole, rel=0.1)
    again = fresh()
    assert again(21) == 42
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("damaged", [False, True])
def test_a_full_disk_below_the_cache_fails_nothing(
    damaged: bool, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh()(21) == 42
    for file in tmp_path.glob("cache/*/*"):
        if damaged:
            file.write_bytes(b"\0" * 100)
        else:
            file.unlink()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    assert fresh()(21) == 42


def test_without_any_folder_for_a_cache_functions_are_compiled_all_the_same(
    fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.core.caching.CompileResultCacheImpl._locator_classes", [])
    assert fresh()(21) == 42
    assert not (tmp_path / "cache").exists()
