"""Opening an input, whatever is in it, inside child processes; and what libav says of it, in a line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Literal, cast

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from birefnet_batch.errors import InputError
from birefnet_batch.refusals import one_line, system_reason
from birefnet_batch.storage.growing_file import open_file
from birefnet_batch.video.followed_file import FollowedFile

# What libav and our own checks raise for a file that is not as it should be.
BROKEN = (av.error.FFmpegError, OSError, ValueError, LookupError, ArithmeticError)
# Reading ahead in larger steps than libav's own 32 kB: each one is a call into Python.
_BUFFER = 1 << 18
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Their standards have chroma of half the width at the left one of two pixels (SMPTE RDD 36 and ST 2019-1; BT.709), and
# libav, which takes it to lie between them, is told nothing by their frames.
_LEFT_CHROMA = frozenset(("prores", "dnxhd", "v210"))


@contextmanager
def open_input(path: bytes, tell: Callable[[], None] | None = None) -> Iterator[InputContainer]:
    """Open a media file by its content alone.

    The container gets an open file, not its name, and may open nothing else: a playlist cannot reach other files
    or hosts, and no character of the name has a meaning.

    Args:
        path: the file.
        tell: called while the file is read on through, however long the next packet is to come.

    Raises:
        InputError: it cannot be read, or is no media file.
    """
    shown = os.fsdecode(path)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  the path is bytes
        if stat.S_ISDIR(mode):
            raise InputError(f"{shown} is a folder; give a video file")
        if not stat.S_ISREG(mode):
            raise InputError(f"{shown} is no regular file; give a video file on disk")
        with open_file(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{shown} is empty; was it copied or downloaded completely?")
            try:
                container = av.open(
                    file if tell is None else cast(Any, FollowedFile(file, tell)),
                    metadata_errors="replace",
                    buffer_size=_BUFFER,
                    io_open=_refuse,
                    container_options={"protocol_whitelist": "none"},
                )
            except MemoryError:
                raise
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise InputError(f"{shown} is no video that can be read: {reason_of(error)}") from None
            assert isinstance(container, InputContainer)
            with container:
                yield container
    except OSError as error:
        if isinstance(error, av.error.FFmpegError):
            raise
        raise InputError(f"{shown} cannot be read: {system_reason(error)}") from None


def pick_video(container: InputContainer, path: bytes) -> VideoStream:
    """The video stream with the most pixels, of several such the longest; cover pictures are none.

    Raises:
        InputError: there is none.
    """
    streams = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    usable = [stream for stream in streams if stream.codec_context is not None]
    if not usable:
        shown = os.fsdecode(path)
        what = "only audio" if container.streams.audio else "no video"
        if streams:
            what = "a video whose codec is not supported"
        raise InputError(f"{shown} holds {what}; give a file with a video stream")
    # An animated AVIF has a still picture of the same size beside its track.
    return max(usable, key=lambda stream: (stream.width * stream.height, stream.frames))


def companions(container: InputContainer, video: VideoStream, kind: Literal["audio", "subtitle"]) -> list[Stream]:
    """The streams of a kind that go with a picture: where a file has several programmes, those of the picture's own.

    A transport stream's programmes have each a clock of its own.
    """
    streams = [stream for stream in container.streams if stream.type == kind]
    own = _programme(container, video)
    if all(_programme(container, other)[0] == own[0] for other in container.streams.video):
        return streams
    return [stream for stream in streams if _programme(container, stream) == own]


def _programme(container: InputContainer, stream: Stream) -> tuple[int | None, int | None]:
    """What tells a stream's programme from others, for PyAV does not list them: its best picture and its best sound."""
    picture, sound = container.streams.best("video", stream), container.streams.best("audio", stream)
    return None if picture is None else picture.index, None if sound is None else sound.index


def discard_others(container: InputContainer, index: int) -> None:
    """Have libav leave out all streams but one, so that what they hold takes no time."""
    for stream in container.streams:
        if stream.index != index:
            stream.discard = av.stream.Discard.all


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder; of VP8 and VP9 with alpha libvpx's, for libav's own drop it."""
    if has_alpha(stream):
        context = CodecContext.create(_WITH_ALPHA[stream.codec_context.codec.canonical_name], "r")
        assert isinstance(context, VideoCodecContext)
        # What only the container says of the colours; the matrix is the stream's to say.
        context.color_primaries, context.color_trc = stream.color_primaries, stream.color_trc
        return context
    if stream.codec_context.codec.canonical_name in _LEFT_CHROMA:
        stream.codec_context.options = {"chroma_sample_location": "left"}
    return stream.codec_context


def has_alpha(stream: VideoStream) -> bool:
    """Whether VP8 or VP9 comes with alpha beside it; single frames, the first one too, may have none."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    return stream.codec_context.codec.canonical_name in _WITH_ALPHA and tags.get("alpha_mode") == "1"


def origin_of(container: InputContainer, video: VideoStream, first: av.VideoFrame) -> Fraction:
    """The container's time that becomes 0, in seconds; a whole number of the pictures' ticks.

    A start after 0 (a transport stream's clock, a cut) is taken off for picture and sound alike, so that they stay
    together. Sound that starts before 0 (an encoder's priming) does not move the picture; a picture that starts
    before 0 does.
    """
    base = time_base_of(video, first)
    pictures = Fraction(first.pts if first.pts is not None else video.start_time or 0) * base
    starts = [
        Fraction(stream.start_time) * Fraction(stream.time_base)
        for stream in companions(container, video, "audio")
        if stream.start_time is not None and stream.time_base
    ]
    start = min([pictures, *starts])
    if start <= 0:
        start = min(Fraction(0), pictures)
    # Rounded here and once, or pictures and sound would be shifted by different times.
    return start // base * base


def time_base_of(video: VideoStream, frame: av.VideoFrame) -> Fraction:
    """Seconds a tick of a frame's time."""
    return Fraction(frame.time_base or video.time_base or Fraction(1, 1000))


def reason_of(error: BaseException) -> str:
    """What libav says, in one line, without its file name."""
    text = getattr(error, "strerror", None) or str(error)
    return one_line(text).lower()


def _refuse(url: str, flags: int, options: Any) -> Any:
    raise PermissionError(f"a media file may not open {url}")
