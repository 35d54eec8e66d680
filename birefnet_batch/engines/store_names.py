"""Which files in a folder are an engine store's own.

What is removed is recognised by its name and content: `--store` may name the wrong folder, and a right one may be in a
folder that has files of other things.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from birefnet_batch.errors import ConfigError, EngineError
from birefnet_batch.refusals import system_reason

KEY = re.compile("[0-9a-f]{32}")
CACHES = {
    "inductor": "what torch.compile made",
    "triton": "kernels that it compiled",
    "timing": "what TensorRT measured",
    "batch": "measured batch sizes",
    "precision": "measured errors of half precision",
}
"""Folders of a store beside its engines, and what is in each."""

_MEASURED = {
    "timing": re.compile(r"tensorrt-.+\.(cache|lock|partial)"),
    "batch": re.compile(r"[0-9a-f]{32}\.(json|(.+\.)?partial)"),
    "precision": re.compile(r".+-[0-9a-f]{32}-(fp16|bf16)-(cpu|cuda)\.(json|(.+\.)?partial)"),
}
_ENGINE_FILE = re.compile(r"model\.(onnx|plan)|entry\.json|used|kernels-.+")
_LEFT = re.compile(r"(\.removed-)*[0-9a-f]{32}(-[0-9a-f]{8})+")


def is_store(root: Path) -> bool:
    """Whether anything was ever built, compiled or measured there."""
    return os.path.isdir(root / ".locks")  # noqa: PTH112  Path.is_dir raises where a folder may not be entered


def check_readable(root: Path, *, named: bool) -> None:
    """Make sure that a store can be looked into, or is not there yet.

    Args:
        root: its folder.
        named: whether the user gave it; only the default one may not be there yet.

    Raises:
        ConfigError: it was given and does not exist.
        EngineError: it cannot be looked into.
    """
    try:
        os.scandir(root).close()
    except FileNotFoundError:
        if named:
            raise ConfigError(f"there is no folder {root}; give --store the folder of a store") from None
    except OSError as error:
        reason = system_reason(error)
        raise EngineError(
            f"The engine store {root} cannot be read: {reason}; mend it, or give --store FOLDER"
        ) from None


def make_store(root: Path) -> None:
    """Let `is_store` know a folder, if it can be written.

    For what others write into it: whoever builds or measures makes the folder of the locks anyway.
    """
    with suppress(OSError):
        (root / ".locks").mkdir(parents=True, exist_ok=True)


def is_of_an_engine(folder: Path) -> bool:
    """Whether it has the name of an engine's folder, and nothing in it that an engine's folder has not."""
    try:
        return bool(KEY.fullmatch(folder.name)) and all(_ENGINE_FILE.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return False


def was_left(folder: Path) -> bool:
    """Whether it has the name of a folder in which an engine was built, or of one that was being removed."""
    return bool(_LEFT.fullmatch(folder.name))


def cached(root: Path, name: str) -> list[Path]:
    """What a store has in one of `CACHES`: the folder itself where its files' names are torch's to choose."""
    folder = root / name
    if not folder.is_dir():
        return []
    if name not in _MEASURED:
        return [folder]
    return sorted(path for path in folder.iterdir() if _MEASURED[name].fullmatch(path.name))
