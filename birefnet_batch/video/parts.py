"""The video packets of several parts as one stream, with decode times made anew."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from birefnet_batch.errors import OutputError, WorkerLostError
from birefnet_batch.refusals import remedy
from birefnet_batch.video.container import reason_of
from birefnet_batch.video.formats import FORMATS, LONGEST_DELAY, format_of
from birefnet_batch.video.join import JoinTask
from birefnet_batch.video.libav_writer import output_errors
from birefnet_batch.video.timed import Timed

_SHORTEST_SHOWN = 2  # hundredths of a second of a GIF's frame that players believe


class Parts:
    """Reads a video's parts; used inside the joining process.

    Each part's own decode times start before its first picture, so they would run into those of the part before.
    A packet's decode time is the presentation time that stands as many places before its own place as the deepest
    reordering needs, which is what an encoder of the whole would have given.

    Args:
        task: the parts, and when the last frame ends.
        tell: called while the parts are read.
    """

    def __init__(self, task: JoinTask, tell: Callable[[], None]) -> None:
        self._task = task
        self._base = format_of(task.spec.output_type).time_base(task.spec.time_base)
        self._end = round(task.end * task.spec.time_base / self._base)
        # Of a segment of which nothing could be decoded the part is empty.
        self._parts = [part for part in task.parts if part.stat().st_size]
        times = [[pts for pts, _ in _times(part, self._base, tell)] for part in self._parts]
        exact = format_of(task.spec.output_type).tick is None and self._base == task.spec.time_base
        self._times = list(chain.from_iterable(times if exact else _apart(times)))
        self.order = sorted(self._times)
        """Presentation times of all frames, in ticks of the container's clock."""
        self._places = {pts: place for place, pts in enumerate(self.order)}
        if len(self._places) < len(self._times):
            raise OutputError(f"{task.destination} cannot be joined: two of its parts have frames of the same time")
        if self.order:
            self._end = max(self._end, self.order[-1] + 1)
        self._delay = max((at - self._places[pts] for at, pts in enumerate(self._times)), default=0)
        self._step = min((after - before for before, after in pairwise(self.order)), default=1)

    @property
    def start(self) -> Fraction:
        """When the first frame is shown, in ticks of the source's clock."""
        return self.order[0] * self._base / self._task.spec.time_base

    def packets(self, output: OutputContainer) -> Iterator[Timed]:
        """Declare the stream in the joined file; then, its packets, ready to mux."""
        with _opened(self._parts[0]) as container:
            template = container.streams.video[0]
            headers = template.codec_context.extradata
            tags = {name: value for name, value in template.metadata.items() if name.lower() == "alpha_mode"}
            stream = output.add_stream_from_template(template)
            # The template's tag is dropped there, and of ProRes' profiles the muxer would name the first.
            stream.codec_context.codec_tag = template.codec_context.codec_tag
            # Codecs such as ProRes leave the shape of pixels to the container.
            if self._task.spec.sample_aspect_ratio is not None:
                stream.codec_context.sample_aspect_ratio = self._task.spec.sample_aspect_ratio
        stream.time_base = self._base
        stream.metadata.update(tags)
        return self._all(stream, headers)

    def _all(self, stream: VideoStream, headers: bytes | None) -> Iterator[Timed]:
        base = self._base
        at = 0
        for part in self._parts:
            with _opened(part) as container:
                source = container.streams.video[0]
                if source.codec_context.extradata != headers:
                    raise OutputError(f"{part} was encoded with other settings than the part before it; encode it anew")
                for packet, _ in _packets(container, source, base):
                    pts = self._times[at]
                    packet.pts = pts
                    packet.duration = self._end_of(pts) - pts
                    packet.dts = self._decode_time(at)
                    packet.time_base = base
                    packet.stream = stream
                    at += 1
                    yield Timed(packet.dts * base, packet, "video")

    def _end_of(self, pts: int) -> int:
        place = self._places[pts] + 1
        return self.order[place] if place < len(self.order) else self._end

    def _decode_time(self, at: int) -> int:
        place = at - self._delay
        return self.order[place] if place >= 0 else self.order[0] + place * self._step


class WholePart:
    """The single part of a type that cannot be joined: the part is the file.

    Args:
        task: one part, and when its last frame ends.
        tell: called while the part is read.
    """

    def __init__(self, task: JoinTask, tell: Callable[[], None]) -> None:
        if len(task.parts) != 1:
            raise OutputError(f"{task.destination} cannot be joined of {len(task.parts)} parts; keep the video whole")
        self._task = task
        self._base = format_of(task.spec.output_type).time_base(task.spec.time_base)
        self.order: list[int] = []
        """Presentation times of all frames, in ticks of the container's clock."""
        self._end = before = 0
        # Without it delays of 10 ms are read as players show them, ten times as long.
        for pts, duration in _times(task.parts[0], self._base, tell, {"min_delay": "1"}):
            if not self.order or pts - before != LONGEST_DELAY:
                self.order.append(pts)
            before = pts
            self._end = pts + duration

    @property
    def start(self) -> Fraction:
        """When the first frame is shown, in ticks of the source's clock."""
        # The file begins with that frame whenever it is: only its length tells, to half a tick of its own clock.
        start = self._task.end * self._task.spec.time_base - (self._end - self.order[0]) * self._base
        return Fraction(0) if abs(start) <= self._base / 2 else start / self._task.spec.time_base

    def notes(self) -> Iterator[str]:
        """What players will not show as it is written."""
        hasty = sum(after - before < _SHORTEST_SHOWN for before, after in pairwise(self.order))
        if hasty:
            others = " or ".join(form.output_type for form in FORMATS.values() if form.alpha and form.joinable)
            yield (
                f"{hasty} of the {len(self.order)} frames are shown for 10 ms, for the source has more than 50 frames "
                f"a second; browsers and most players make 100 ms of that. Give video_output_type {others}, "
                "or a source of at most 50 frames a second"
            )

    def move(self) -> None:
        """Give the part its new name; across file systems, its content a new file."""
        part, destination = self._task.parts[0], self._task.destination
        try:
            part.replace(destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with output_errors(destination):
                shutil.copyfile(part, destination)
            part.unlink()


def _apart(parts: Iterable[list[int]]) -> Iterator[list[int]]:
    """Times of each part's frames, each a tick at least after the frame that is shown before it.

    A source's clock may be finer than the container's.
    """
    last: int | None = None
    for times in parts:
        apart = times.copy()
        for place in sorted(range(len(times)), key=times.__getitem__):
            last = apart[place] = times[place] if last is None else max(times[place], last + 1)
        yield apart


def _times(
    part: Path, base: Fraction, tell: Callable[[], None], options: dict[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Presentation times and durations of a part's frames in ticks of `base`."""
    with _opened(part, options) as container:
        for packet, pts in _packets(container, container.streams.video[0], base):
            tell()
            yield pts, int((packet.duration or 0) * Fraction(packet.time_base) / base)


@contextmanager
def _opened(part: Path, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    """Read a part, which is our own: whatever is wrong with it is not the source's doing."""
    try:
        with av.open(str(part.absolute()), options=options or {}) as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise WorkerLostError(
            f"{part} cannot be read as it was written: {reason_of(error)}{remedy(error)}; its disk, or what else "
            "writes there, may have damaged it"
        ) from None


def _packets(
    container: InputContainer, stream: VideoStream, base: Fraction
) -> Iterator[tuple[av.Packet[VideoStream], int]]:
    """A part's packets with their presentation times in ticks of `base`; the part itself has whole ones a second."""
    for packet in container.demux(stream):
        if packet.pts is not None and packet.size:
            yield packet, int(packet.pts * Fraction(packet.time_base) / base)
