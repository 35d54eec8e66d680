"""One file of a video's parts, without encoding again, the source's audio and subtitles with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from birefnet_batch.errors import DecoderCrashError
from birefnet_batch.video.child import Child
from birefnet_batch.video.encode import EncodeSpec


@dataclass(frozen=True)
class JoinTask:
    """What to join; picklable. The fields are what `join_parts` is given, paths of sources as bytes."""

    parts: tuple[Path, ...]
    destination: Path
    spec: EncodeSpec
    end: int
    audio_from: bytes | None
    subtitles_from: bytes | None
    origin: Fraction


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
    subtitles_from: Path | None = None,
    origin: Fraction = Fraction(0),
) -> JoinedFacts:
    """Join parts in a process of their own: the source's audio may be as broken as its video.

    Args:
        parts: the segments' files, in order.
        destination: the file to write; removed after an error.
        spec: what the parts were encoded with.
        end: when the last frame ends, in ticks of the spec's time base.
        audio_from: the source, to carry its audio over; None leaves the file silent.
        timeout_s: seconds that the process may stay silent.
        subtitles_from: the source, to carry its subtitles over; None leaves them out.
        origin: the source's time that becomes 0, in seconds.

    Raises:
        OutputError: the file cannot be written.
        DecoderCrashError: the process died or did not answer.
    """
    audio, subtitles = (None if path is None else os.fsencode(path.absolute()) for path in (audio_from, subtitles_from))
    task = JoinTask(tuple(parts), destination, spec, end, audio, subtitles, origin)
    without: list[tuple[JoinTask, str]] = [(task, "")]
    # The parts are our own; what the process dies of can only be what is carried over.
    if subtitles is not None:
        without.append((replace(task, subtitles_from=None), "the subtitles were left out"))
    if audio is not None:
        without.append((replace(task, audio_from=None), "the audio was left out"))
    if audio is not None and subtitles is not None:
        without.append((replace(task, audio_from=None, subtitles_from=None), "audio and subtitles were left out"))
    subject = audio_from or subtitles_from or destination
    crash: DecoderCrashError | None = None
    for lesser, note in without:
        try:
            facts = _join(lesser, subject, timeout_s)
        except DecoderCrashError as error:
            crash = crash or error
        else:
            return facts if crash is None else replace(facts, notes=(*facts.notes, f"{note}: {crash}"))
    assert crash is not None
    raise crash


def _join(task: JoinTask, subject: Path, timeout_s: float) -> JoinedFacts:
    child = Child("birefnet_batch.video.join_process", subject, task, timeout_s)
    try:
        facts = child.receive()
    except BaseException:
        child.close()
        task.destination.unlink(missing_ok=True)
        raise
    child.close()
    assert isinstance(facts, JoinedFacts)
    return facts
