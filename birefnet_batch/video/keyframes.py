"""Where a video can be cut: its keyframes, found by reading its packets without decoding them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from birefnet_batch.video.child import Child
from birefnet_batch.video.info import Keyframe


@dataclass(frozen=True)
class FoundKeyframes:
    """What the packets of a video say."""

    frames: int
    """How many are shown."""
    keyframes: tuple[Keyframe, ...]
    """Where a cut may be, in the order in which they are shown; empty where times cannot be relied on."""
    reason: str | None = None
    """Why there is none, when the file is to blame."""


def find_keyframes(path: Path, timeout_s: float = 60.0) -> FoundKeyframes:
    """Read a file's packets in a process of its own.

    Raises:
        InputError: it is no video.
        DecoderCrashError: the process died or did not answer.
    """
    child = Child("birefnet_batch.video.keyframe_process", path, os.fsencode(path.absolute()), timeout_s)
    try:
        found = child.receive()
    finally:
        child.close()
    assert isinstance(found, FoundKeyframes)
    return found
