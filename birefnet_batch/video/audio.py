"""A source's audio on its way into the joined file: copied where the container takes the codec, else encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from birefnet_batch.video.adts import unchanging
from birefnet_batch.video.carried import CarriedTracks, describe
from birefnet_batch.video.container import BROKEN, discard_others
from birefnet_batch.video.copied_pcm import CopiedPcm
from birefnet_batch.video.encoded_audio import EncodedTrack
from birefnet_batch.video.packet_clock import PacketClock
from birefnet_batch.video.timed import Timed


class AudioTracks(CarriedTracks["_Track"]):
    """Every audio track of a source; a context.

    Args:
        path: the source; None has no tracks.
        copied: codecs whose packets are carried over; other tracks are encoded.
        encoder: what they are encoded with; None: the file is silent.
        origin: the source's time that becomes 0, in seconds.
        tell: called while the source is read.
    """

    stream = "audio"
    kind = "audio was"
    one = "audio track"
    parts = "damaged or misplaced packets"

    def __init__(
        self,
        path: bytes | None,
        copied: frozenset[str],
        encoder: str | None,
        origin: Fraction,
        tell: Callable[[], None],
    ) -> None:
        super().__init__(path if encoder else None, tell)
        self._copied = copied
        self._encoder = encoder or ""
        self._origin = origin

    def _track(self, number: int, container: InputContainer, index: int) -> _Track:
        return _Track(number, container, index, self._origin, self._copied, self._encoder)

    @property
    def rates(self) -> list[int]:
        """Samples a second of each track."""
        return [track.rate for track in self._tracks]

    def add_streams(self, output: OutputContainer) -> None:
        """Declare the tracks in the joined file."""
        usable = []
        for track in self._tracks:
            try:
                track.add_stream(output)
                usable.append(track)
            except BROKEN as error:
                self._leave_out(track.number, error)
        self._tracks = usable


class _Track:
    def __init__(
        self,
        number: int,
        container: InputContainer,
        index: int,
        origin: Fraction,
        copied: frozenset[str],
        encoder: str,
    ) -> None:
        stream = container.streams[index]
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            raise ValueError("its codec is not supported")
        self.number = number
        self.rate = stream.codec_context.sample_rate
        self.dropped = 0
        self._source = stream
        self._origin = origin
        discard_others(container, index)
        self._packets = self._read(container)
        # A track without a packet, or whose first one cannot be read, is not declared at all.
        first = next(self._packets, None)
        if first is None:
            raise ValueError("it is empty")
        self._first = first
        self._counted: EncodedTrack | CopiedPcm | None = None
        context = stream.codec_context
        codec = context.codec.canonical_name
        if codec not in copied or codec.startswith("pcm_"):
            if context.sample_rate <= 0 or not context.layout.nb_channels:
                raise ValueError("its sample rate or its channels are not known")
            self._counted = CopiedPcm(stream, origin) if codec in copied else EncodedTrack(stream, origin, encoder)
        self._out: AudioStream | None = None

    def add_stream(self, output: OutputContainer) -> None:
        """Declare the track."""
        self._out = self._counted.add_stream(output) if self._counted else output.add_stream_from_template(self._source)
        describe(self._source, self._out)

    def packets(self) -> Iterator[Timed]:
        """The track's packets; to be called once."""
        if self._counted is None:
            yield from self._copy()
            return
        copied = isinstance(self._counted, CopiedPcm)
        try:
            yield from self._counted.packets(self._heard() if copied else self._all())
        finally:
            self.dropped = self._counted.dropped

    def _read(self, container: InputContainer) -> Iterator[av.Packet[AudioStream]]:
        for packet in container.demux(self._source):
            if packet.size and packet.dts is not None:
                yield packet

    def _all(self) -> Iterator[av.Packet[AudioStream]]:
        yield self._first
        yield from self._packets

    def _heard(self) -> Iterator[av.Packet[AudioStream]]:
        """What is to be copied.

        Before each edit of an MP4 libav reads a second of sound that was cut out, for the decoder's sake, and flags it.
        Only what begins a track may stay: its times are before 0, and an edit list or a pre-skip hides it.
        """
        begun = False
        for packet in self._all():
            if packet.is_discard and (begun or not self._is_hidden(packet)):
                continue
            begun = begun or not packet.is_discard
            yield packet

    def _is_hidden(self, packet: av.Packet[AudioStream]) -> bool:
        """Whether the container can say a time before 0 and not play it; WebM would be shifted as a whole."""
        assert self._out is not None
        assert packet.dts is not None
        if self._out.container.format.name != "webm":
            return True
        return packet.dts * Fraction(packet.time_base) - self._origin >= -_pre_skip(self._source)

    def _copy(self) -> Iterator[Timed]:
        assert self._out is not None
        last: int | None = None
        base = Fraction(self._first.time_base)
        clock = PacketClock(round(self._origin / base), base)
        packets = self._heard()
        if self._source.codec_context.codec.canonical_name == "aac":
            packets = unchanging(packets)
        for packet in packets:
            assert packet.dts is not None
            shift = 0 if packet.is_corrupt else clock.offset(packet.dts, packet.duration or 0)
            dts = packet.dts - shift
            if packet.is_corrupt or (last is not None and dts <= last):
                # Two packets at one time cannot be written; sound that goes back is damaged.
                self.dropped += 1
                continue
            last = dts
            packet.pts = (packet.pts - shift) if packet.pts is not None else dts
            packet.dts = dts
            packet.stream = self._out
            yield Timed(dts * base, packet, "audio")


def _pre_skip(stream: AudioStream) -> Fraction:
    """Seconds that a decoder leaves out at the beginning of Opus (RFC 7845, section 5.1); 0 of other codecs."""
    head = stream.codec_context.extradata or b""
    if not head.startswith(b"OpusHead"):
        return Fraction(0)
    return Fraction(int.from_bytes(head[10:12], "little"), 48000)
