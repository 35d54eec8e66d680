"""A folder that may not be entered, for tests that run as root, who may enter all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder whose entries can be neither looked at nor listed."""

    def refusing(call: Callable[..., Any], listing: bool) -> Callable[..., Any]:
        def refuse(path: Any, *others: Any, **named: Any) -> Any:
            looked_at = Path(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else Path()
            if folder in looked_at.parents or (listing and looked_at == folder):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *others, **named)

        return refuse

    folder.mkdir()
    monkeypatch.setattr(os, "stat", refusing(os.stat, listing=False))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir, listing=True))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, listing=True))
    return folder
