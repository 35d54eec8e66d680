"""A clip, and where its results go."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import make_clip
from trivial import TrivialEngine


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=7)


@pytest.fixture
def trivial_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mattes in no time, for what is not about mattes."""
    monkeypatch.setattr(
        "birefnet_batch.engines.open_engine", lambda name, **spec: TrivialEngine(spec["width"], spec["height"])
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"
