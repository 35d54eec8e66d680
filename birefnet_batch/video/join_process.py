"""The joiner's own process: `python -m birefnet_batch.video.join_process`, started by `join_parts`."""

from __future__ import annotations

import errno
import heapq
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer

from birefnet_batch.errors import OutputError
from birefnet_batch.storage.written_file import WrittenFile
from birefnet_batch.video.audio import AudioTracks
from birefnet_batch.video.carried import RefusedError
from birefnet_batch.video.child import Pulse, serve
from birefnet_batch.video.encode import EncodeSpec
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.join import JoinedFacts, JoinTask
from birefnet_batch.video.libav_writer import container_options, output_errors
from birefnet_batch.video.mov_languages import keep_languages
from birefnet_batch.video.parts import Parts, WholePart
from birefnet_batch.video.subtitles import SubtitleTracks
from birefnet_batch.video.timed import Timed
from birefnet_batch.video.webm_aspect import set_pixel_shape

_CHAPTER_TICK = Fraction(1, 1000)
_MOST_TICKS = (1 << 31) - 1
# Of a disk that reads and writes at once, in bytes a second: far less than any that is worth waiting for.
_SLOWEST_DISK = 5_000_000
# The file's own trouble; of a packet that it does not take a muxer may say anything else.
_OWN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOMEM)
_ERRORS = (av.error.FFmpegError, OSError, ValueError)


def work(connection: Connection[Any, Any], memory: int, task: JoinTask) -> None:
    """Send `Alive` now and then, and `JoinedFacts` at the end."""
    form = format_of(task.spec.output_type)
    pulse = Pulse(connection)
    parts = Parts(task, pulse) if form.joinable else WholePart(task, pulse)
    if not parts.order:
        raise OutputError(f"{task.destination} would be empty: no frame was encoded")
    try:
        if isinstance(parts, WholePart):
            _allow_writing(pulse, task.parts[0])
            parts.move()
            connection.send(_facts(task, parts, list(parts.notes())))
        else:
            connection.send(_join_somehow(pulse, task, parts))
    except BaseException:
        task.destination.unlink(missing_ok=True)
        raise


def _join_somehow(pulse: Pulse, task: JoinTask, parts: Parts) -> JoinedFacts:
    """With the audio as it is; where the container refuses that, encoded anew; where that fails, without."""
    copied = may_be_copied = format_of(task.spec.output_type).copied_audio
    notes: list[str] = []
    while True:
        try:
            facts = _join(pulse, task, parts, copied)
        except RefusedError as error:
            if error.what == "subtitles":
                task = replace(task, subtitles_from=None)
                # Of what is refused with the header nothing says what it was: the audio was blamed before them.
                copied = may_be_copied
            elif copied:
                copied = frozenset()
                continue
            else:
                task = replace(task, audio_from=None)
            verb = "were" if error.what == "subtitles" else "was"
            notes.append(f"the {error.what} {verb} left out: {error}")
        else:
            return replace(facts, notes=(*facts.notes, *notes))


def _join(pulse: Pulse, task: JoinTask, parts: Parts, copied: frozenset[str]) -> JoinedFacts:
    spec = task.spec
    form = format_of(spec.output_type)
    with (
        output_errors(task.destination),
        AudioTracks(task.audio_from, copied, form.encoded_audio, task.origin, pulse) as audio,
        SubtitleTracks(task.subtitles_from, form.subtitles, task.origin, pulse) as subtitles,
    ):
        options = container_options(spec)
        if form.tick is None:
            options |= {
                "movie_timescale": str(_movie_ticks(form.time_base(spec.time_base).denominator, audio.rates)),
                "movflags": "+faststart",
            }
        with (
            WrittenFile(task.destination) as file,
            av.open(file, "w", format=form.muxer, options=options) as output,
        ):
            output.metadata.update(dict(spec.tags))
            output.set_chapters(_chapters(spec))
            video = parts.packets(output)
            audio.add_streams(output)
            subtitles.add_streams(output)
            _start(output, _doubtful(audio=bool(audio.count), subtitles=bool(subtitles.count), copied=bool(copied)))
            languages = [stream.metadata.get("language") for stream in output.streams]
            try:
                _mux(pulse, output, heapq.merge(video, *audio.packets(), *subtitles.packets()))
            finally:
                # With +faststart closing the file writes all of it a second time, whatever the reason.
                _allow_writing(pulse, task.destination)
            # What the muxer keeps of the sound's first packet (AC-3's) it looks at only now.
            with _refusals("audio" if audio.count and copied else ""):
                output.close()
        if form.muxer == "mov":
            keep_languages(task.destination, languages)
        elif form.muxer == "webm" and spec.sample_aspect_ratio is not None:
            size = (form.coded(spec.width), form.coded(spec.height))
            set_pixel_shape(task.destination, *size, spec.sample_aspect_ratio)
        return _facts(task, parts, [*audio.notes, *subtitles.notes])


def _facts(task: JoinTask, parts: Parts | WholePart, notes: list[str]) -> JoinedFacts:
    spec = task.spec
    coded = format_of(spec.output_type).coded
    seconds = (task.end - parts.start) * spec.time_base
    return JoinedFacts(
        frames=len(parts.order),
        duration_s=float(seconds),
        fps=float(len(parts.order) / seconds) if seconds else 0.0,
        width=coded(spec.width),
        height=coded(spec.height),
        size=task.destination.stat().st_size,
        notes=(*_padding_note(task), *notes),
    )


def _chapters(spec: EncodeSpec) -> list[av.container.Chapter]:
    return [
        {
            "id": number,
            "start": round(chapter.start / _CHAPTER_TICK),
            "end": round(chapter.end / _CHAPTER_TICK),
            "time_base": _CHAPTER_TICK,
            "metadata": {"title": chapter.title} if chapter.title else {},
        }
        for number, chapter in enumerate(spec.chapters, 1)
    ]


def _doubtful(*, audio: bool, subtitles: bool, copied: bool) -> str:
    """What the container refuses, if it refuses the header: first what can still be carried over in another form."""
    if audio and (copied or not subtitles):
        return "audio"
    return "subtitles" if subtitles else ""


def _start(output: OutputContainer, doubtful: str) -> None:
    with _refusals(doubtful):
        output.start_encoding()


@contextmanager
def _refusals(doubtful: str) -> Iterator[None]:
    """Take what the muxer says here for a refusal of what is carried over; nothing is doubtful where it is empty."""
    try:
        yield
    except _ERRORS as error:
        if not doubtful or getattr(error, "errno", None) in _OWN:
            raise
        raise RefusedError(doubtful, error) from None


def _allow_writing(pulse: Pulse, path: Path) -> None:
    pulse.allow(path.stat().st_size / _SLOWEST_DISK)


def _mux(pulse: Pulse, output: OutputContainer, packets: Iterator[Timed]) -> None:
    for timed in packets:
        with _refusals("" if timed.kind == "video" else timed.kind):
            output.mux_one(timed.packet)
        pulse()


def _movie_ticks(video: int, rates: list[int]) -> int:
    """Ticks a second that express the starts of every track, or the video's alone where there is no such number."""
    ticks = math.lcm(video, *rates)
    return ticks if ticks <= _MOST_TICKS else video


def _padding_note(task: JoinTask) -> Iterator[str]:
    spec = task.spec
    coded = format_of(spec.output_type).coded
    if (coded(spec.width), coded(spec.height)) != (spec.width, spec.height):
        yield (
            f"padded from {spec.width}x{spec.height} to {coded(spec.width)}x{coded(spec.height)}: "
            "H.264 yuv420p has no odd sides"
        )


if __name__ == "__main__":
    serve(work)
