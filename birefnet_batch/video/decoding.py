"""A file's pictures in the order in which they are shown, and whether all of them are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from birefnet_batch.counted import counted
from birefnet_batch.errors import InputError
from birefnet_batch.video.completeness import INCOMPLETE, check_whole, listed_frames
from birefnet_batch.video.container import decoder_of, open_input, origin_of, pick_video, reason_of
from birefnet_batch.video.damage import check_share
from birefnet_batch.video.damage_count import DamageCount
from birefnet_batch.video.decoding_times import DecodingTimes, may_lack_times
from birefnet_batch.video.info import MOST_PIXELS, Keyframe

# Threads do not change the pictures; a fixed count keeps many workers on one machine from fighting.
_THREADS = 2
# Streams without an end of their own: broadcasts are cut anywhere, and the last packet is seldom whole.
_CUT_ANYWHERE = frozenset(("mpegts", "mpeg", "mpegvideo", "h264", "hevc", "av1", "m4v"))


class LostError(Exception):
    """A keyframe is not where it was found; decoding must begin at the beginning."""


class Decoder:
    """Decodes one video stream once, counting what is wrong with it.

    Args:
        container: the file, at its beginning or at or before a keyframe.
        stream: which of its streams.
        shown: the file's name, for messages.
        corrupt: what is done with frames that are decoded in part: conceal, drop (all but the file's first) or fail.
        first: the keyframe that decoding begins with; None: the first packet there is.

    Raises:
        InputError: nothing can be decoded.
        LostError: the keyframe is not there.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        shown: str,
        corrupt: str,
        first: Keyframe | None = None,
    ) -> None:
        self._context = decoder_of(stream)
        # Of frames that are decoded side by side libav may give one before it knows that it was decoded in part only:
        # good enough for a count, and not for what is dropped or refused.
        self._context.thread_type = "AUTO" if corrupt == "conceal" else "SLICE"
        self._context.thread_count = _THREADS
        self._container = container
        self._stream = stream
        self._shown = shown
        self._begin = first
        self._policy = corrupt
        self._ended_by: str | None = None
        self._cut = False
        self._packets = 0
        self.delivered = 0
        """How many frames were decoded so far."""
        codec = stream.codec_context.codec.canonical_name
        self._damage = DamageCount(container.format.name, codec)
        self._times = DecodingTimes(may_lack_times(container.format.name, stream), codec)
        self._ended = False
        self.dropped: set[int] = set()
        """The times of the frames that were dropped, as far as they have one."""
        self._frames = self._decode()
        frame = next(self._frames, None)
        if frame is None:
            because = f": {self._ended_by}" if self._ended_by else ""
            raise InputError(f"{shown} has no frame that can be decoded{because}")
        self.first = frame
        """The first frame, which `frames` delivers again."""

    @property
    def origin(self) -> Fraction:
        """The container's time, in seconds, that becomes 0; of a decoder that began at the beginning."""
        return origin_of(self._container, self._stream, self.first)

    @property
    def corrupt_frames(self) -> int:
        """How many frames could not be decoded, or only in part."""
        return self._damage.count(self._ended)

    def count_within(self, start: int | None, stop: int | None) -> None:
        """What is shown before `start`, or from `stop` on, is another's to count."""
        self._damage.within(start, stop)

    def frames(self) -> Iterator[av.VideoFrame]:
        """All frames; to be called once."""
        yield self.first
        yield from self._frames

    def check_end(self, share: bool) -> None:
        """Refuse what ended too early or is too damaged; to be called when the frames are at an end.

        Args:
            share: what was decoded is the whole video, so that the bound of its damaged share applies.

        Raises:
            InputError: a result would look finished and would not be.
        """
        listed = listed_frames(self._container, self._stream) if self._begin is None else None
        if listed is not None and self._packets < listed:
            raise InputError(f"{self._shown} ends early: {self._packets} of {listed} frames are there; {INCOMPLETE}")
        if self._ended_by or self._cut:
            because = f" ({self._ended_by})" if self._ended_by else ""
            raise InputError(
                f"{self._shown} ends early, after {counted(self.delivered, 'frames')}{because}; {INCOMPLETE}, or is "
                "damaged"
            )
        self.check_damage(share)

    def check_damage(self, share: bool) -> None:
        """Refuse what is too damaged so far.

        Args:
            share: see `check_end`.

        Raises:
            InputError: too many frames cannot be decoded.
        """
        if self.corrupt_frames and self._policy == "fail":
            raise InputError(
                f"{self._shown} has {counted(self.corrupt_frames, 'frames')} that cannot be decoded, or only in part, "
                "and media.corrupt_frames=fail; give an intact copy, or conceal or drop"
            )
        if share:
            check_share(self._shown, self.corrupt_frames, self._packets)

    def _decode(self) -> Iterator[av.VideoFrame]:
        context = self._context
        for packet in self._demux():
            self._damage.sent(packet)
            self._times.sent(packet)
            try:
                decoded = context.decode(packet)
            except av.error.EOFError:
                break
            except MemoryError:
                raise
            except (av.error.FFmpegError, OSError) as error:
                self._damage.refused()
                self._times.refused()
                if not self.delivered:
                    self._ended_by = reason_of(error)
                continue
            for frame in self._times.timed(decoded):
                yield from self._kept(self._damage.got(frame))
        yield from self._kept(self._damage.rest())
        self._ended = True

    def _kept(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        for frame in frames:
            # The file's first frame says what the video is, and is kept.
            if frame.is_corrupt and self._policy == "drop" and (self.delivered or self._begin is not None):
                if frame.pts is not None:
                    self.dropped.add(frame.pts)
                continue
            if not self.delivered:
                self._ended_by = None
            self.delivered += 1
            yield frame

    def _demux(self) -> Iterator[av.Packet[VideoStream] | None]:
        """The stream's packets, and None at the end for what the decoder still holds."""
        lenient = bool(_CUT_ANYWHERE & set(self._container.format.name.split(",")))
        packets = self._container.demux(self._stream)
        waiting = self._begin is not None
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except MemoryError:
                raise
            except (av.error.FFmpegError, OSError) as error:
                self._ended_by = reason_of(error)
                break
            if not packet.size or (waiting and self._is_before(packet)):
                continue
            waiting = False
            self._packets += 1
            self._cut = packet.is_corrupt and not lenient
            yield packet
        if waiting:
            raise LostError
        yield None

    def _is_before(self, packet: av.Packet[VideoStream]) -> bool:
        """Whether the keyframe to begin with is yet to come."""
        assert self._begin is not None
        if packet.pts == self._begin.pts and packet.is_keyframe:
            return False
        if packet.is_keyframe and packet.pts is not None and packet.pts > self._begin.pts:
            raise LostError
        return True


@contextmanager
def open_video(path: bytes, corrupt: str = "conceal") -> Iterator[tuple[InputContainer, VideoStream, Decoder]]:
    """Open a file, decode the first frame of its video and make sure that its end is there.

    Args:
        path: the file.
        corrupt: what is done with damaged frames; see `Decoder`.

    Raises:
        InputError: it is no video, has no frames, or ends early and says so.
    """
    shown = os.fsdecode(path)
    with open_input(path) as container:
        stream = pick_video(container, path)
        check_whole(path, container, stream)
        decoder = Decoder(container, stream, shown, corrupt)
        pixels = decoder.first.width * decoder.first.height
        if pixels > MOST_PIXELS:
            raise InputError(
                f"{shown} is {decoder.first.width}x{decoder.first.height}: more than {MOST_PIXELS} pixels a frame; "
                "scale it down"
            )
        yield container, stream, decoder


@contextmanager
def open_at(path: bytes, keyframe: Keyframe, corrupt: str) -> Iterator[Decoder]:
    """Open a file and decode from a keyframe on: its frame, and whatever of before it comes out after it.

    Raises:
        LostError: the keyframe cannot be reached.
    """
    assert keyframe.seek is not None
    with open_input(path) as container:
        stream = pick_video(container, path)
        # Matroska's index has the times at which frames are shown, others' those at which they are decoded.
        at = keyframe.pts if "matroska" in container.format.name else keyframe.seek
        try:
            container.seek(at, stream=stream, backward=True)
            decoder = Decoder(container, stream, os.fsdecode(path), corrupt, keyframe)
        except (InputError, av.error.FFmpegError, OSError) as error:
            raise LostError from error
        yield decoder
