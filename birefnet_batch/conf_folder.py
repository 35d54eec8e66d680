"""Where the configuration that a user edits is: package data of a wheel, `conf/` of a checkout."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def conf_folder() -> Path:
    """The folder with config.yaml and the groups."""
    spec = find_spec("birefnet_batch.conf")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    return Path(__file__).resolve().parent.parent / "conf"


def demo_clips() -> Path:
    """The folder with the clips of experiment=demo."""
    return Path(__file__).resolve().parent / "models" / "demo" / "clips"
