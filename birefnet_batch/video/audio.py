"""A source's audio on its way into the joined file: copied where MP4 takes the codec, else encoded as AAC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from birefnet_batch.errors import InputError
from birefnet_batch.video.container import open_input, origin_of, pick_video, reason_of

Timed = tuple[Fraction, "av.Packet[Any]"]
COPIED = frozenset(("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"))
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class AudioTracks:
    """Every audio track of a source, each read through a container of its own; a context.

    A track that cannot be read is left out, with a note: broken sound must not cost the picture.

    Args:
        path: the source; None has no tracks.
    """

    def __init__(self, path: bytes | None) -> None:
        self._path = path
        self._context = ExitStack()
        self._tracks: list[_Track] = []
        self.notes: list[str] = []

    def __enter__(self) -> AudioTracks:
        if self._path is None:
            return self
        with open_input(self._path) as container:
            indexes = [stream.index for stream in container.streams.audio]
        for number, index in enumerate(indexes, 1):
            try:
                container = self._context.enter_context(open_input(self._path))
                self._tracks.append(_Track(container, index, origin_of(container, pick_video(container, self._path))))
            except (InputError, av.error.FFmpegError, OSError, ValueError, StopIteration) as error:
                self._leave_out(number, error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    @property
    def count(self) -> int:
        """How many tracks the file has."""
        return len(self._tracks)

    def add_streams(self, output: OutputContainer) -> None:
        """Declare the tracks in the joined file."""
        usable = []
        for number, track in enumerate(self._tracks, 1):
            try:
                track.add_stream(output)
                usable.append(track)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                self._leave_out(number, error)
        self._tracks = usable

    def packets(self) -> list[Iterator[Timed]]:
        """For each track its packets, ready to mux, with their decode times in seconds."""
        return [self._guarded(number, track) for number, track in enumerate(self._tracks, 1)]

    def _guarded(self, number: int, track: _Track) -> Iterator[Timed]:
        try:
            yield from track.packets()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.notes.append(f"audio track {number} ends early: {reason_of(error)}")

    def _leave_out(self, number: int, error: BaseException) -> None:
        assert self._path is not None
        self.notes.append(
            f"audio track {number} of {os.fsdecode(self._path)} was left out: {reason_of(error) or 'it is empty'}"
        )


class _Track:
    def __init__(self, container: InputContainer, index: int, origin: Fraction) -> None:
        stream = container.streams[index]
        assert isinstance(stream, AudioStream)
        self._source = stream
        self._origin = origin
        for other in container.streams:
            if other.index != index:
                other.discard = av.stream.Discard.all
        self._packets = self._read(container)
        # A track without a packet, or whose first one cannot be read, is not declared at all.
        self._first = next(self._packets)
        self._copied = stream.codec_context.name in COPIED
        self._out: AudioStream | None = None
        self._samples = 0

    def _read(self, container: InputContainer) -> Iterator[av.Packet[Any]]:
        for packet in container.demux(self._source):
            if packet.size and packet.dts is not None:
                yield packet

    def add_stream(self, output: OutputContainer) -> None:
        if self._copied:
            stream: Any = output.add_stream_from_template(self._source)
        else:
            rate = self._source.codec_context.sample_rate
            nearest = next((known for known in _AAC_RATES if known <= rate), _AAC_RATES[-1])
            stream = output.add_stream("aac", rate=nearest, layout=self._source.codec_context.layout)
            stream.codec_context.bit_rate = 96_000 * max(1, self._source.codec_context.layout.nb_channels)
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if self._source.language:
            stream.metadata["language"] = self._source.language
        self._out = stream

    def packets(self) -> Iterator[Timed]:
        yield from self._copy() if self._copied else self._encode()

    def _all(self) -> Iterator[av.Packet[Any]]:
        yield self._first
        yield from self._packets

    def _copy(self) -> Iterator[Timed]:
        assert self._out is not None
        last: int | None = None
        for packet in self._all():
            base = Fraction(packet.time_base)
            shift = round(self._origin / base)
            assert packet.dts is not None
            dts = packet.dts - shift
            if last is not None and dts <= last:
                # Two packets at one time cannot be written; sound that goes back is damaged.
                continue
            last = dts
            packet.pts = (packet.pts - shift) if packet.pts is not None else dts
            packet.dts = dts
            packet.stream = self._out
            yield dts * base, packet

    def _encode(self) -> Iterator[Timed]:
        assert self._out is not None
        context = self._out.codec_context
        resampler = AudioResampler(format="fltp", layout=context.layout, rate=context.sample_rate, frame_size=1024)
        base = Fraction(1, context.sample_rate)
        shift: int | None = None
        for packet in self._all():
            try:
                frames = self._source.codec_context.decode(packet)
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                if shift is None:
                    start = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
                    shift = round((start - self._origin) / base)
                # Sound is continuous: samples are counted, so that rounding cannot drift.
                frame.pts = None
                for piece in resampler.resample(frame):
                    yield from self._encoded(piece, shift, base)
        for piece in resampler.resample(None):
            yield from self._encoded(piece, shift or 0, base)
        yield from self._encoded(None, shift or 0, base)

    def _encoded(self, frame: av.AudioFrame | None, shift: int, base: Fraction) -> Iterator[Timed]:
        assert self._out is not None
        if frame is not None:
            frame.pts = shift + self._samples
            frame.time_base = base
            self._samples += frame.samples
        for packet in self._out.encode(frame):
            assert packet.dts is not None
            yield packet.dts * Fraction(packet.time_base), packet
