"""One file of a video's parts, without encoding again, the source's audio with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from birefnet_batch.errors import DecoderCrashError
from birefnet_batch.video.child import Child
from birefnet_batch.video.encode import EncodeSpec


@dataclass(frozen=True)
class JoinTask:
    """What to join; picklable."""

    parts: tuple[Path, ...]
    destination: Path
    spec: EncodeSpec
    end: int
    audio_from: bytes | None


@dataclass(frozen=True)
class JoinedFacts:
    """What the joined file holds."""

    frames: int
    duration_s: float
    """Seconds that the pictures take."""
    fps: float
    """Frames a second, on average."""
    width: int
    """Pixels, as coded."""
    height: int
    size: int
    """Bytes."""
    audio_tracks: int
    notes: tuple[str, ...]
    """What was done otherwise than asked."""


def join_parts(
    parts: Sequence[Path],
    destination: Path,
    spec: EncodeSpec,
    *,
    end: int,
    audio_from: Path | None,
    timeout_s: float,
) -> JoinedFacts:
    """Join parts in a process of their own: the source's audio may be as broken as its video.

    Args:
        parts: the segments' files, in order.
        destination: the file to write; removed after an error.
        spec: what the parts were encoded with.
        end: when the last frame ends, in ticks of the spec's time base.
        audio_from: the source, to carry its audio over; None leaves the file silent.
        timeout_s: seconds that the process may stay silent.

    Raises:
        OutputError: the file cannot be written.
        DecoderCrashError: the process died or did not answer.
    """
    try:
        return _join(parts, destination, spec, end, audio_from, timeout_s)
    except DecoderCrashError as error:
        if audio_from is None:
            raise
        # The parts are our own; what the process died of can only be the source's audio.
        facts = _join(parts, destination, spec, end, None, timeout_s)
        return replace(facts, notes=(*facts.notes, f"the audio was left out: {error}"))


def _join(
    parts: Sequence[Path], destination: Path, spec: EncodeSpec, end: int, audio_from: Path | None, timeout_s: float
) -> JoinedFacts:
    source = None if audio_from is None else os.fsencode(audio_from.absolute())
    task = JoinTask(tuple(parts), destination, spec, end, source)
    child = Child("birefnet_batch.video.join_process", audio_from or destination, task, timeout_s)
    try:
        facts = child.receive()
    except BaseException:
        child.close()
        destination.unlink(missing_ok=True)
        raise
    child.close()
    assert isinstance(facts, JoinedFacts)
    return facts
