"""What was measured is kept whole, and what cannot be read is measured again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.engines.measured_once import measured_once


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "[" * 100_000, '{"other": 1}', '{"batch": null}'], ids=lambda text: text[:16]
)
def test_a_record_that_is_not_whole_is_measured_again_and_mended(tmp_path: Path, damaged: str):
    counted: list[int] = []

    def measure() -> dict[str, int]:
        counted.append(1)
        return {"batch": 4}

    def found() -> int | None:
        return measured_once(tmp_path, "batch", "one", "batch of one", lambda facts: int(facts.get("batch")), measure)

    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "one.json").write_text(damaged)
    assert [found(), found(), len(counted)] == [4, 4, 1]
    assert [path.name for path in (tmp_path / "batch").iterdir()] == ["one.json"]


def test_what_could_not_be_measured_is_not_kept(tmp_path: Path):
    assert measured_once(tmp_path, "batch", "one", "batch of one", lambda facts: facts, lambda: None) is None
    assert measured_once(tmp_path, "batch", "one", "batch of one", lambda facts: facts, lambda: {"a": 1}) == {"a": 1}


def test_what_is_there_is_read_by_those_who_may_not_lock_the_store(tmp_path: Path):
    def once() -> Any:
        return measured_once(tmp_path, "batch", "one", "batch of one", lambda facts: facts, lambda: {"a": 1})

    once()
    shutil.rmtree(tmp_path / ".locks")
    (tmp_path / ".locks").write_text("")
    assert once() == {"a": 1}
