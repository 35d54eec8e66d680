"""Sound that a container does not take as it is, encoded; in step with the source's clock, gaps, overlaps and all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from birefnet_batch.video.packet_clock import SampleClock
from birefnet_batch.video.timed import Timed

_RATES = {
    "aac": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350),
    "libopus": (48000,),  # whatever it is told, Opus runs at this rate inside
}
# By the number of channels: what a layout without names is taken for, and what is encoded.
_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}
_ENCODED = {
    "aac": {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"},
    "libopus": {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"},
}
_BITS_A_CHANNEL = 96_000
_FRAME = 1024


class EncodedTrack:
    """Encodes one track.

    Args:
        source: the stream that the packets are of; its sample rate and channels are known.
        origin: the source's time that becomes 0, in seconds.
        encoder: `aac` or `libopus`.
    """

    def __init__(self, source: AudioStream, origin: Fraction, encoder: str) -> None:
        context = source.codec_context
        self._source = source
        self._encoder = encoder
        rates = _RATES[encoder]
        self._rate = next((known for known in rates if known <= context.sample_rate), rates[-1])
        self._layout = _ENCODED[encoder].get(context.layout.nb_channels, "stereo")
        self._channels = av.AudioLayout(self._layout).nb_channels
        self._resampler = self._new_resampler()
        self._shape: tuple[str, str, int] | None = None
        self._out: AudioStream | None = None
        self._decoded = SampleClock(origin, self._rate)
        self._clock: int | None = None  # where the next encoded sample goes
        self._surplus = 0  # how many resampled samples are yet to be left out: others have their place
        self.dropped = 0
        """How many packets could not be decoded."""

    def add_stream(self, output: OutputContainer) -> AudioStream:
        """Declare the track in the file to write."""
        stream = cast(AudioStream, output.add_stream(self._encoder, rate=self._rate, layout=self._layout))
        stream.codec_context.bit_rate = _BITS_A_CHANNEL * self._channels
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        self._out = stream
        return stream

    def packets(self, packets: Iterable[av.Packet[AudioStream]]) -> Iterator[Timed]:
        """The encoded packets of the source's packets."""
        for packet in packets:
            try:
                frames = self._source.codec_context.decode(packet)
            except MemoryError:
                raise
            except (av.error.FFmpegError, OSError):
                # Of damage decoders say other things too: that what they read is not supported, or not permitted.
                self.dropped += 1
                continue
            for frame in frames:
                yield from self._keep_in_step(frame)
                frame = _named(frame)
                # Samples are counted instead: a container's rounded times would tear the sound.
                frame.pts = None
                yield from self._encoded(self._resampler.resample(frame))
        yield from self._drained()
        yield from self._encoded([None])

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(format="fltp", layout=self._layout, rate=self._rate)

    def _drained(self) -> Iterator[Timed]:
        held = [frame for frame in self._resampler.resample(None) if frame is not None]
        self._resampler = self._new_resampler()
        yield from self._encoded(held)

    def _keep_in_step(self, frame: av.AudioFrame) -> Iterator[Timed]:
        """Set the clock at the first frame; later, fill gaps with silence, and take back what overlaps."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self._drained()
            self._shape = shape
        time = None if frame.pts is None or frame.time_base is None else frame.pts * Fraction(frame.time_base)
        following = self._decoded.following
        at = self._decoded.place(time, Fraction(frame.samples * self._rate, frame.sample_rate))
        if self._clock is None:
            self._clock = round(at)
        elif at != following:
            yield from self._drained()
            missing = round(at) - self._clock
            self._surplus = 0
            yield from self._encoded(self._silence(missing))
            self._surplus = max(0, -missing)

    def _silence(self, samples: int) -> Iterator[av.AudioFrame]:
        for start in range(0, samples, _FRAME):
            zeros = np.zeros((self._channels, min(_FRAME, samples - start)), np.float32)
            frame = av.AudioFrame.from_ndarray(zeros, format="fltp", layout=self._layout)
            frame.sample_rate = self._rate
            yield frame

    def _encoded(self, frames: Iterable[av.AudioFrame | None]) -> Iterator[Timed]:
        assert self._out is not None
        for frame in frames:
            if frame is not None:
                assert self._clock is not None
                cut = min(self._surplus, frame.samples)
                self._surplus -= cut
                if cut == frame.samples:
                    continue
                frame = self._without(frame, cut)
                frame.pts, frame.time_base = self._clock, Fraction(1, self._rate)
                self._clock += frame.samples
            for packet in self._out.encode(frame):
                assert packet.dts is not None
                yield Timed(packet.dts * Fraction(packet.time_base), packet, "audio")

    def _without(self, frame: av.AudioFrame, samples: int) -> av.AudioFrame:
        """The resampled frame without its first samples."""
        if not samples:
            return frame
        kept = np.ascontiguousarray(frame.to_ndarray()[:, samples:], np.float32)
        rest = av.AudioFrame.from_ndarray(kept, format="fltp", layout=self._layout)
        rest.sample_rate = self._rate
        return rest


def _named(frame: av.AudioFrame) -> av.AudioFrame:
    """The frame with names for its channels: a resampler mixes none that have no place."""
    channels = frame.layout.nb_channels
    if frame.layout.name != f"{channels} channels" or channels not in _USUAL:
        return frame
    named = av.AudioFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name, layout=_USUAL[channels])
    named.sample_rate = frame.sample_rate
    return named
