"""What is told of versions."""

from __future__ import annotations

import tomllib
from pathlib import Path

from birefnet_batch.versions import INSTALL_TORCH

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_the_torch_that_messages_say_to_install_is_one_that_this_package_takes() -> None:
    (torch,) = (
        name for name in tomllib.loads(PROJECT.read_text())["project"]["dependencies"] if name.startswith("torch")
    )
    assert f"pip install --force-reinstall '{torch}'" == INSTALL_TORCH
