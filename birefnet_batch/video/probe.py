"""The facts of a video file."""

from __future__ import annotations

from pathlib import Path

from birefnet_batch.video.child import MEMORY_BYTES
from birefnet_batch.video.info import VideoInfo
from birefnet_batch.video.reader import FrameReader


def probe(path: Path, timeout_s: float = 60.0, memory_bytes: int = MEMORY_BYTES) -> VideoInfo:
    """Read a file's facts, its first frame decoded, in a process of its own.

    Raises:
        InputError: it is no video, or has no frames.
        DecoderCrashError: the process died or did not answer.
    """
    with FrameReader(path, timeout_s=timeout_s, memory_bytes=memory_bytes) as reader:
        return reader.info
