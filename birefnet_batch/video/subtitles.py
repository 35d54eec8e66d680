"""A source's subtitles on their way into the joined file: text in the container's own form, at the source's times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
from av.container import InputContainer, OutputContainer
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from birefnet_batch.video.carried import CarriedTracks, describe
from birefnet_batch.video.container import discard_others
from birefnet_batch.video.timed import Timed

_TICK = Fraction(1, 1000)
_FIELDS = 8  # before the text
_UNKNOWN = -(1 << 63)  # libav's word for a time that is not known
_NEVER = 1 << 62
_LEAST_OVERLAP = 100  # ticks; where one follows another, files are often this exact only
_MOST_LINES = 64  # more than can be read; a file may say that each is shown to the end
# Text travels between codecs as Advanced SubStation Alpha, whose header says what plain text looks like; without a
# style it would be of size 0.
_PLAIN = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class SubtitleTracks(CarriedTracks["_Track"]):
    """Every subtitle track of a source; one that is pictures is left out with a note; a context.

    Args:
        path: the source; None has no tracks.
        encoder: what the container takes; None: the type has no subtitles.
        origin: the source's time that becomes 0, in seconds.
        tell: called while the source is read.
    """

    stream = "subtitle"
    kind = "subtitles were"
    one = "subtitle track"
    parts = "damaged subtitles"

    def __init__(self, path: bytes | None, encoder: str | None, origin: Fraction, tell: Callable[[], None]) -> None:
        super().__init__(path if encoder else None, tell)
        self._encoder = encoder or ""
        self._origin = origin

    def _track(self, number: int, container: InputContainer, index: int) -> _Track:
        return _Track(number, container, index, self._origin)

    def add_streams(self, output: OutputContainer) -> None:
        """Declare the tracks in the joined file."""
        for track in self._tracks:
            track.add_stream(output, self._encoder)


class _Said(NamedTuple):
    start: int
    end: int
    line: bytes
    """Comma-separated fields, the text the last of them."""


class _Track:
    def __init__(self, number: int, container: InputContainer, index: int, origin: Fraction) -> None:
        stream = container.streams[index]
        if not isinstance(stream, SubtitleStream) or stream.codec_context is None:
            raise ValueError("its codec is not supported")
        if not stream.codec_context.codec.text_sub:
            name = stream.codec_context.codec.canonical_name
            raise ValueError(f"{name} subtitles are pictures, and only text is carried over")
        self.number = number
        self.dropped = 0
        self._container = container
        self._source = stream
        self._origin = origin
        self._out: SubtitleStream | None = None
        self._one_at_a_time = False
        discard_others(container, index)
        stream.codec_context.open(strict=False)

    def add_stream(self, output: OutputContainer, encoder: str) -> None:
        """Declare the track."""
        out = cast(SubtitleStream, cast(Any, output).add_stream(encoder))
        self._one_at_a_time = encoder == "mov_text"
        header = self._source.codec_context.subtitle_header
        out.codec_context.subtitle_header = header if header and b"Style:" in header else _PLAIN
        out.codec_context.time_base = _TICK
        out.time_base = _TICK
        describe(self._source, out)
        self._out = out

    def packets(self) -> Iterator[Timed]:
        """The track's packets; to be called once."""
        assert self._out is not None
        for at, end, shown in self._pieces() if self._one_at_a_time else self._groups():
            first, *others = shown
            text = b"\\N".join([first.line, *(said.line.split(b",", _FIELDS)[-1] for said in others)])
            try:
                written = self._out.codec_context.encode_subtitle(SubtitleSet.create(text, 0, end - at))
            except av.error.FFmpegError:
                self.dropped += 1
                continue
            if not written.size:
                continue
            written.pts = written.dts = at
            written.duration = end - at
            written.time_base = _TICK
            written.stream = self._out
            yield Timed(at * _TICK, written, "subtitles")

    def _groups(self) -> Iterator[tuple[int, int, list[_Said]]]:
        """What begins together, and from when to when it is shown."""
        earliest = 0
        for start, together in itertools.groupby(self._said(), key=lambda said: said.start):
            begun = list(together)
            at, end = max(start, earliest), max(said.end for said in begun)
            if end > at:
                yield at, end, begun
                earliest = at + 1

    def _pieces(self) -> Iterator[tuple[int, int, list[_Said]]]:
        """What is shown together, and from when to when, cut where that changes."""
        at = 0
        shown: list[_Said] = []
        groups = itertools.groupby(self._said(), key=lambda said: said.start)
        for start, together in itertools.chain(groups, ((_NEVER, ()),)):
            begun = [said for said in together if said.end > max(at, start)]
            if not begun and start != _NEVER:
                continue
            while shown and at < start:
                end = min(start, *(said.end for said in shown))
                yield at, end, shown
                at, shown = end, [said for said in shown if said.end > end]
            at = max(at, start)
            shown = [*(said for said in shown if said.end - at >= _LEAST_OVERLAP), *begun][-_MOST_LINES:]

    def _said(self) -> Iterator[_Said]:
        ended = Fraction(0)
        for packet in self._container.demux(self._source):
            if packet.size and packet.pts is not None:
                ended = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base)
            elif packet.size or packet.pts is not None:
                continue
            try:
                found = self._source.decode2(packet)
            except av.error.FFmpegError:
                self.dropped += 1
                continue
            if found is None:
                continue
            start, end = (round((time - self._origin) / _TICK) for time in _shown(packet, found, ended))
            # MP4 says with an empty one that nothing is shown.
            for rect in found:
                if isinstance(rect, AssSubtitle) and rect.ass:
                    yield _Said(start, end, rect.ass)


def _shown(packet: av.Packet[SubtitleStream], found: SubtitleSet, end: Fraction) -> tuple[Fraction, Fraction]:
    """From when to when subtitles are shown, in seconds on the source's clock.

    Args:
        packet: what they were found in; the empty one at the track's end has no time.
        found: they themselves.
        end: when the packet ends, or the last one that has a time.
    """
    own = Fraction(found.pts, av.time_base)
    if packet.pts is None:
        # What is shown until the end; the decoder says of it how long the one before was shown.
        return (end if found.pts == _UNKNOWN else own + found.start_display_time * _TICK), end
    start = packet.pts * Fraction(packet.time_base)
    if found.pts == _UNKNOWN or abs(own - start) <= _TICK:
        return start, end
    # Captions come in pieces, of which each packet has one: the decoder tells of a text when it is shown no more.
    return own + found.start_display_time * _TICK, min(own + found.end_display_time * _TICK, end)
