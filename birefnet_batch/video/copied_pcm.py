"""PCM that is copied, in step with the source's clock: libav's muxer of MOV counts samples and looks at no times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from birefnet_batch.video.packet_clock import SampleClock
from birefnet_batch.video.timed import Timed


class CopiedPcm:
    """Copies one track whose samples are signed or floating point: their silence is zeros.

    Args:
        source: the stream that the packets are of; its sample rate and channels are known.
        origin: the source's time that becomes 0, in seconds.
    """

    def __init__(self, source: AudioStream, origin: Fraction) -> None:
        context = source.codec_context
        self._source = source
        self._rate = context.sample_rate
        # What is decoded of 24 bits has 32.
        self._block = context.layout.nb_channels * int(context.codec.canonical_name[5:7]) // 8
        self._read = SampleClock(origin, self._rate)
        self._out: AudioStream | None = None
        self.dropped = 0
        """How many packets were left out."""

    def add_stream(self, output: OutputContainer) -> AudioStream:
        """Declare the track in the file to write."""
        self._out = output.add_stream_from_template(self._source)
        return self._out

    def packets(self, packets: Iterable[av.Packet[AudioStream]]) -> Iterator[Timed]:
        """The source's packets, silence where one is missing, none of them before the end of another."""
        written: int | None = None
        for packet in packets:
            assert packet.dts is not None
            samples = packet.size // self._block
            if packet.is_corrupt or not samples:
                self.dropped += 1
                continue
            at = round(self._read.place(packet.dts * Fraction(packet.time_base), Fraction(samples)))
            if written is None:
                written = at
            # A second at a time: an hour of silence is not to be in memory.
            for start in range(written, at, self._rate):
                silence = min(self._rate, at - start)
                yield self._timed(bytes(silence * self._block), start, silence)
            heard = max(0, written - at)
            if heard >= samples:
                self.dropped += 1
                continue
            yield self._timed(bytes(packet)[heard * self._block : samples * self._block], at + heard, samples - heard)
            written = at + samples

    def _timed(self, content: bytes, at: int, samples: int) -> Timed:
        assert self._out is not None
        packet = av.Packet(content)
        packet.stream = self._out
        packet.pts = packet.dts = at
        packet.duration = samples
        packet.time_base = Fraction(1, self._rate)
        packet.is_keyframe = True
        return Timed(Fraction(at, self._rate), packet, "audio")
