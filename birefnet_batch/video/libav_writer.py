"""A part written by one of libav's encoders; what differs between codecs is in the subclasses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, TypeVar, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from birefnet_batch.errors import OutputError
from birefnet_batch.refusals import remedy
from birefnet_batch.storage.written_file import WrittenFile
from birefnet_batch.video.container import reason_of
from birefnet_batch.video.encode import EncodeSpec, Kind, PartWriter
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.info import BT709, BT2020, Levels
from birefnet_batch.video.siting import LeftChroma
from birefnet_batch.video.wide import LIMITED_WHITE, WHITE, table

Image = TypeVar("Image", NDArray[np.uint8], Levels)
_KEYFRAME_SECONDS = 2
_MOST_BETWEEN_KEYFRAMES = 250
_MOST_TICKS = 1_000_000_000  # a second, of libvpx
_ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def container_options(spec: EncodeSpec) -> dict[str, str]:
    """Options of the muxer that keep times exact and bytes repeatable."""
    options = {"fflags": "+bitexact"}
    form = format_of(spec.output_type)
    if form.tick is None:
        ticks = str(form.time_base(spec.time_base).denominator)
        options |= {"video_track_timescale": ticks, "movie_timescale": ticks}
    return options


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what libav says about a file that cannot be written into an OutputError."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise OutputError(f"{path} cannot be written: {reason_of(error)}{remedy(error)}") from None


def keyframe_interval(spec: EncodeSpec) -> int:
    """Frames from one keyframe to the next."""
    rate = spec.average_rate or 25
    return max(1, min(_MOST_BETWEEN_KEYFRAMES, round(_KEYFRAME_SECONDS * rate)))


def padded(image: Image, size: tuple[int, int]) -> Image:
    """The image (H, W, ...) with its edge repeated on the right and below up to `size` (width, height)."""
    right, below = size[0] - image.shape[1], size[1] - image.shape[0]
    if not (right or below):
        return image
    return np.pad(image, ((0, below), (0, right), *([(0, 0)] * (image.ndim - 2))), mode="edge")


class LibavWriter(PartWriter):
    """Frames to one of libav's encoders: BT.709's matrix, or with more than 8 bits BT.2020's, in limited range."""

    codec: ClassVar[str]
    left_chroma: ClassVar[bool] = False
    """Whether chroma of half the width lies at the left one of two pixels instead of between them."""

    def __init__(self, path: Path, spec: EncodeSpec, kind: Kind) -> None:
        super().__init__(path, spec)
        form = format_of(spec.output_type)
        self.kind = kind
        self.size = (form.coded(spec.width), form.coded(spec.height))
        self._reformatter = VideoReformatter()
        self._siting = LeftChroma()
        # A container with a clock of its own rounds by itself.
        own = spec.time_base if spec.time_base.denominator <= _MOST_TICKS else Fraction(1, _MOST_TICKS)
        self._base = own if form.tick else form.time_base(spec.time_base)
        self._last: int | None = None
        with output_errors(path):
            self._file = WrittenFile(path)
            self._container = av.open(self._file, "w", format=form.muxer, options=container_options(spec))
            self._stream = cast(VideoStream, self._container.add_stream(self.codec, rate=spec.average_rate or 25))
            context = self._stream.codec_context
            context.width, context.height = self.size
            context.pix_fmt = self.pixel_format
            context.time_base = self._base
            context.thread_count = spec.threads
            self._primaries, self._transfer = (BT709, BT709) if kind == "mask" else (spec.primaries, spec.transfer)
            self._matrix = BT2020 if form.wide and self._primaries == BT2020 else BT709
            context.colorspace, context.color_primaries = self._matrix, self._primaries
            context.color_trc = self._transfer
            context.color_range = ColorRange.MPEG.value
            if spec.sample_aspect_ratio is not None:
                context.sample_aspect_ratio = spec.sample_aspect_ratio
            self.set_up(context)
            self._stream.time_base = self._base
            if spec.alpha and kind == "video":
                self.mark_alpha()

    @property
    @abstractmethod
    def pixel_format(self) -> str:
        """What the encoder is given."""

    @abstractmethod
    def set_up(self, context: VideoCodecContext) -> None:
        """Set the encoder's quality and speed."""

    def mark_alpha(self) -> None:
        """Tell players that there is an alpha channel, where the pixel format does not."""

    @property
    def metadata(self) -> dict[str, str]:
        """The track's tags."""
        return self._stream.metadata

    def write(self, image: Levels, pts: int, duration: int) -> None:
        """See `PartWriter.write`."""
        frame = self._grey(image) if self.kind == "mask" else self._colour(image)
        frame.pts = self._tick(pts)
        frame.time_base = self._base
        # ProRes repeats these in each frame's header, from the frame and not from the encoder's own.
        frame.color_primaries, frame.color_trc = self._primaries, self._transfer
        with output_errors(self.path):
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """See `PartWriter.finish`; of a segment that lost every frame the part is an empty file."""
        with output_errors(self.path), self._file:
            if self._last is None:
                self.abort()
                self.path.write_bytes(b"")
                return
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def abort(self) -> None:
        """See `PartWriter.abort`."""
        # The error that led here is the one to report.
        with suppress(av.error.FFmpegError, OSError), self._file:
            self._container.close()

    def _tick(self, pts: int) -> int:
        """The nearest tick of the part, each frame on one of its own."""
        at = round(pts * self.spec.time_base / self._base)
        self._last = at if self._last is None else max(at, self._last + 1)
        return self._last

    def _colour(self, image: Levels) -> av.VideoFrame:
        return self._converted(image, self.pixel_format)

    def _converted(self, image: Levels, pixel_format: str) -> av.VideoFrame:
        narrow, wide = ("rgba", "rgba64le") if self.spec.alpha else ("rgb24", "rgb48le")
        given = narrow if image.dtype == np.uint8 else wide
        if given is wide:
            colours = table(WHITE, LIMITED_WHITE)[image[..., :3]]
            image = np.concatenate((colours, image[..., 3:]), axis=-1) if self.spec.alpha else colours
        frame = av.VideoFrame.from_ndarray(padded(image, self.size), format=given)
        return self._reformatter.reformat(
            self._siting.marked(frame) if self.left_chroma else frame,
            format=pixel_format,
            dst_colorspace=Colorspace(self._matrix),
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=self.interpolation,
        )

    @property
    def interpolation(self) -> Interpolation:
        """How RGB becomes YUV."""
        return _ACCURATE

    @abstractmethod
    def _grey(self, mask: Levels) -> av.VideoFrame:
        """A mask (H, W) as a frame of the encoder's format, from black where alpha is 0 to white."""


def grey_420(mask: NDArray[np.uint8], size: tuple[int, int]) -> av.VideoFrame:
    """A mask as yuv420p in limited range with neutral chroma, which every player shows as grey."""
    width, height = size
    chroma = ((height + 1) // 2, (width + 1) // 2)
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(
        frame.planes,
        (LUMA[padded(mask, size)], np.full(chroma, 128, np.uint8), np.full(chroma, 128, np.uint8)),
        strict=True,
    ):
        target = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        target[: values.shape[0], : values.shape[1]] = values
    frame.colorspace = Colorspace.ITU709
    frame.color_range = ColorRange.MPEG
    return frame


LUMA = np.rint(16 + np.arange(256) * (219 / 255)).astype(np.uint8)
"""Full-range grey to 8-bit limited-range luma."""
