"""Frames of two fields made whole: libav's bwdif, one frame out for each one in, with the times of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph
from av.video.reformatter import ColorRange

from birefnet_batch.video.picture import MATRICES

# What libav's buffer knows: it refuses the other numbers, of which a damaged header may have any.
_UNTAGGED_MATRIX, _UNTAGGED_RANGE = 2, 0
_KNOWN_MATRICES = MATRICES.keys() | {0}
_KNOWN_RANGES = (ColorRange.MPEG.value, ColorRange.JPEG.value)
_DEEP_GREY = ("gray9", "gray10", "gray12", "gray14", "gray16be")
_FILTERED_GREY = "gray16le"
_LEAST_WIDTH, _LEAST_HEIGHT = 3, 4  # of every plane that bwdif takes


@dataclass(frozen=True)
class _Stamp:
    """What a frame keeps on its way through the filter, which counts time in ticks of its own."""

    pts: int | None
    dts: int | None
    time_base: Fraction | None
    duration: int
    deinterlaced: bool
    delivered: bool
    """Whether it is in the filter for its neighbour's sake only."""


@dataclass(frozen=True)
class _Shape:
    """What all frames in a filter have in common."""

    width: int
    height: int
    format: str
    matrix: int
    range: int

    @classmethod
    def of(cls, frame: av.VideoFrame) -> _Shape:
        matrix, levels = int(frame.colorspace), int(frame.color_range)
        return cls(
            frame.width,
            frame.height,
            frame.format.name,
            matrix if matrix in _KNOWN_MATRICES else _UNTAGGED_MATRIX,
            levels if levels in _KNOWN_RANGES else _UNTAGGED_RANGE,
        )

    @property
    def arguments(self) -> str:
        """Of libav's buffer. Told no matrix, libav takes BT.601's where bwdif needs another format, and tags none."""
        return (
            f"video_size={self.width}x{self.height}:pix_fmt={self.format}:time_base=1/1000:"
            f"colorspace={self.matrix}:range={self.range}"
        )

    @property
    def deep_grey(self) -> bool:
        """Whether it is grey of limited range that bwdif does not take: libav calls what it makes of it full."""
        return self.range == ColorRange.MPEG.value and self.format.startswith(_DEEP_GREY)

    @property
    def wanted(self) -> str | None:
        """What is filtered, where libav would choose a format without alpha or with colours."""
        return "gbrap" if self.format == "pal8" else _FILTERED_GREY if self.deep_grey else None


class Deinterlacer:
    """Deinterlaces frames with bwdif, which looks at the frame before and the one after each.

    Frames that are not marked as interlaced pass unchanged, unless all are wanted; so do those that are too small.

    Args:
        mode: auto, on (every frame) or off.
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._graph: Graph | None = None
        self._source: Any = None
        self._sink: Any = None
        self._shape: _Shape | None = None
        self._stamps: deque[_Stamp] = deque()
        self.changed = False
        """Whether the frame delivered last was deinterlaced."""

    def applies_to(self, frame: av.VideoFrame) -> bool:
        """Whether a frame is to be deinterlaced, and so depends on its neighbours."""
        planes = frame.format
        if planes.chroma_width(frame.width) < _LEAST_WIDTH or planes.chroma_height(frame.height) < _LEAST_HEIGHT:
            return False
        return self._mode == "on" or (self._mode == "auto" and frame.interlaced_frame)

    def frames(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """As many frames as are given, in their order and with their times."""
        previous: av.VideoFrame | None = None
        for frame in frames:
            shape = _Shape.of(frame)
            if self._graph is not None and shape != self._shape:
                yield from self._end()
            if self._graph is None and self.applies_to(frame):
                self._begin(shape)
                if previous is not None and _Shape.of(previous) == shape:
                    self._push(previous, delivered=True)
            if self._graph is None:
                self.changed = False
                yield frame
            else:
                self._push(frame)
                yield from self._made()
            previous = frame
        if self._graph is not None:
            yield from self._end()

    def _begin(self, shape: _Shape) -> None:
        self._graph, self._shape = Graph(), shape
        self._source = self._graph.add("buffer", shape.arguments)
        which = "all" if self._mode == "on" else "interlaced"
        bwdif = self._graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
        self._sink = self._graph.add("buffersink")
        wanted = shape.wanted
        if wanted is not None:
            planes = self._graph.add("format", f"pix_fmts={wanted}")
            self._source.link_to(planes)
            planes.link_to(bwdif)
        else:
            self._source.link_to(bwdif)
        bwdif.link_to(self._sink)
        self._graph.configure()

    def _push(self, frame: av.VideoFrame, delivered: bool = False) -> None:
        self._stamps.append(
            _Stamp(frame.pts, frame.dts, frame.time_base, frame.duration, self.applies_to(frame), delivered)
        )
        self._source.push(frame)

    def _made(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            stamp = self._stamps.popleft()
            if stamp.delivered:
                continue
            if self._shape is not None and self._shape.deep_grey:
                frame.color_range = ColorRange.MPEG
            frame.pts, frame.dts, frame.duration = stamp.pts, stamp.dts, stamp.duration
            if stamp.time_base is not None:
                frame.time_base = stamp.time_base
            self.changed = stamp.deinterlaced
            yield frame

    def _end(self) -> Iterator[av.VideoFrame]:
        self._source.push(None)
        yield from self._made()
        self._graph = None
        self._stamps.clear()
