"""scripts/setup.sh: a .venv that is whole, and made for this place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "setup.sh"
PYTHON = """#!/bin/sh
case "$*" in
"-m venv .venv")
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    [ -e whole ] && touch .venv/pip
    ;;
"-m pip --version") [ -e .venv/pip ] ;;
"-m pip install"*) [ -e .venv/pip ] && echo "$*" >>installed ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project, beside a Python that makes environments without pip until there is a file `whole`."""
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]")
    return folder


def set_up(checkout: Path, extras: str = "") -> int:
    """Set up as the other scripts do; the exit status."""
    words = ["bash", "-euo", "pipefail", "-c", f". '{SCRIPT}'; set_up '{extras}'"]
    environment = {**os.environ, "PYTHON": str(checkout.parent / "python")}
    return subprocess.run(words, cwd=checkout, env=environment, timeout=60).returncode


def installed(checkout: Path) -> int:
    return len((checkout / "installed").read_text().splitlines())


def test_an_environment_without_pip_is_made_again(checkout: Path) -> None:
    assert set_up(checkout) != 0
    (checkout / "whole").touch()
    assert set_up(checkout) == 0
    assert installed(checkout) == 1


def test_a_project_is_installed_again_where_it_or_its_place_changed(checkout: Path) -> None:
    (checkout / "whole").touch()
    for _ in range(2):
        assert set_up(checkout) == 0
        assert installed(checkout) == 1
    (checkout / "pyproject.toml").write_text("[project] # changed")
    assert set_up(checkout) == 0
    assert installed(checkout) == 2
    moved = checkout.rename(checkout.parent / "moved (1)")
    for _ in range(2):
        assert set_up(moved) == 0
        assert installed(moved) == 3
    assert set_up(moved, "test") == 0
    assert installed(moved) == 4
