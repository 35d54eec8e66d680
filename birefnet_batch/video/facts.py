"""What is known of a video once its first frame is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from birefnet_batch.video.completeness import shown_frames
from birefnet_batch.video.container import companions, time_base_of
from birefnet_batch.video.decoding import Decoder
from birefnet_batch.video.info import Chapter, VideoInfo
from birefnet_batch.video.picture import Picture

_KEPT_TAGS = ("title", "creation_time")


def info_of(container: InputContainer, stream: VideoStream, decoder: Decoder, picture: Picture) -> VideoInfo:
    """The facts of a video.

    Args:
        container: the file.
        stream: its video.
        decoder: at its beginning, with the first frame decoded.
        picture: what is made of that frame.
    """
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = Fraction(stream.duration) * Fraction(stream.time_base)
    elif container.duration is not None:
        duration = Fraction(container.duration, av.time_base)
    ratio = stream.sample_aspect_ratio
    if ratio is not None and (ratio <= 0 or ratio == 1):
        ratio = None
    if ratio is not None and picture.swaps_sides:
        ratio = 1 / ratio
    rate = stream.average_rate
    return VideoInfo(
        width=picture.width,
        height=picture.height,
        time_base=time_base_of(stream, decoder.first),
        average_rate=Fraction(rate) if rate else None,
        frames=shown_frames(container, stream),
        duration=duration,
        sample_aspect_ratio=None if ratio is None else Fraction(ratio),
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        audio_tracks=len(companions(container, stream, "audio")),
        subtitle_tracks=len(companions(container, stream, "subtitle")),
        origin=decoder.origin,
        alpha=picture.alpha,
        primaries=picture.primaries,
        transfer=picture.transfer,
        bits=picture.bits,
        peak=picture.peak,
        tags=tuple((name, container.metadata[name]) for name in _KEPT_TAGS if container.metadata.get(name)),
        chapters=tuple(_chapters(container, decoder.origin)),
    )


def _chapters(container: InputContainer, origin: Fraction) -> Iterator[Chapter]:
    for chapter in container.chapters():
        base = chapter["time_base"]
        if base is None:
            continue
        start, end = (max(Fraction(0), chapter[edge] * Fraction(base) - origin) for edge in ("start", "end"))
        if start < end:
            yield Chapter(start, end, chapter["metadata"].get("title", ""))
