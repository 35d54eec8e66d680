"""What is told of versions."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from birefnet_batch import versions
from birefnet_batch.versions import INSTALL_TORCH

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_the_torch_that_messages_say_to_install_is_one_that_this_package_takes() -> None:
    (torch,) = (
        name for name in tomllib.loads(PROJECT.read_text())["project"]["dependencies"] if name.startswith("torch")
    )
    assert f"pip install --force-reinstall '{torch}'" == INSTALL_TORCH


def test_a_checkout_s_commit_is_told_without_a_lock_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", "-C", str(tmp_path), *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    module = tmp_path / "birefnet_batch" / "versions.py"
    module.parent.mkdir()
    module.write_text("one")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    monkeypatch.setattr(versions, "__file__", str(module))
    # As another git leaves it that was killed; and a file that has to be looked into.
    (tmp_path / ".git" / "index.lock").touch()
    module.touch()
    index = (tmp_path / ".git" / "index").read_bytes()
    assert versions.git_revision.__wrapped__() == git("rev-parse", "HEAD")
    assert (tmp_path / ".git" / "index").read_bytes() == index
    module.write_text("two")
    assert versions.git_revision.__wrapped__() == f"{git('rev-parse', 'HEAD')}-dirty"
    (tmp_path / ".git" / "index.lock").unlink()
    module.touch()
    versions.git_revision.__wrapped__()
    assert (tmp_path / ".git" / "index").read_bytes() == index
