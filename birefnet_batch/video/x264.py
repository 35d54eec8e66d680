"""H.264 in MP4: yuv420p, BT.709, limited range.

Quality is libx264's constant rate factor, write mode its preset:

    quality   low 28, medium 23, high 18, maximum 12
    mode      fast veryfast, balanced medium, small slow

A side that is odd is padded by one pixel on the right or at the bottom, a repetition of the edge: yuv420p has no odd
sides. A mask is the matte as luma (0 -> 16, 255 -> 235) with neutral chroma, which every player shows as grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from birefnet_batch.errors import OutputError
from birefnet_batch.video.encode import EncodeSpec, Kind, PartWriter

CRF = {"low": 28, "medium": 23, "high": 18, "maximum": 12}
PRESET = {"fast": "veryfast", "balanced": "medium", "small": "slow"}
_BT709 = 1
_KEYFRAME_SECONDS = 2
_MOST_BETWEEN_KEYFRAMES = 250
_LUMA = np.rint(16 + np.arange(256) * (219 / 255)).astype(np.uint8)


def even(side: int) -> int:
    """The side that is coded for a side of a frame, in pixels."""
    return side + side % 2


def container_options(spec: EncodeSpec) -> dict[str, str]:
    """Options of the MP4 muxer that keep times exact and bytes repeatable."""
    ticks = str(spec.time_base.denominator)
    return {"video_track_timescale": ticks, "movie_timescale": ticks, "fflags": "+bitexact"}


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what libav says about a file that cannot be written into an OutputError."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise OutputError(f"{path} cannot be written: {reason}") from None


class X264Writer(PartWriter):
    """See the module."""

    def __init__(self, path: Path, spec: EncodeSpec, kind: Kind) -> None:
        super().__init__(path, spec)
        self._kind = kind
        self._size = (even(spec.width), even(spec.height))
        self._reformatter = VideoReformatter()
        with output_errors(path):
            self._container = av.open(str(path), "w", format="mp4", options=container_options(spec))
            self._stream = self._container.add_stream("libx264", rate=spec.average_rate or 25)
            self._set_up(self._stream.codec_context)
            self._stream.time_base = spec.time_base

    def _set_up(self, context: VideoCodecContext) -> None:
        spec = self.spec
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = spec.time_base
        context.thread_count = spec.threads
        context.gop_size = _keyframe_interval(spec)
        context.options = {"crf": str(CRF[spec.quality]), "preset": PRESET[spec.write_mode]}
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG.value
        if spec.sample_aspect_ratio is not None:
            context.sample_aspect_ratio = spec.sample_aspect_ratio

    def write(self, image: NDArray[np.uint8], pts: int, duration: int) -> None:
        """See `PartWriter.write`."""
        frame = self._grey(image) if self._kind == "mask" else self._colour(image)
        frame.pts = pts
        frame.time_base = self.spec.time_base
        with output_errors(self.path):
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """See `PartWriter.finish`."""
        with output_errors(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def abort(self) -> None:
        """See `PartWriter.abort`."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            # The error that led here is the one to report.
            return

    def _colour(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(_padded(image, self._size), format="rgb24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
        )

    def _grey(self, mask: NDArray[np.uint8]) -> av.VideoFrame:
        width, height = self._size
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = _LUMA[_padded(mask, self._size)]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.colorspace = Colorspace.ITU709
        frame.color_range = ColorRange.MPEG
        return frame


def _keyframe_interval(spec: EncodeSpec) -> int:
    rate = spec.average_rate or 25
    return max(1, min(_MOST_BETWEEN_KEYFRAMES, round(_KEYFRAME_SECONDS * rate)))


def _padded(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    right, below = size[0] - image.shape[1], size[1] - image.shape[0]
    if not (right or below):
        return image
    return np.pad(image, ((0, below), (0, right), *([(0, 0)] * (image.ndim - 2))), mode="edge")
