"""GIF: one palette for the whole video, made in a first pass; transparency is on or off.

    quality   colours: low 32, medium 64, high 128, maximum 256
    mode      fast looks at every fourth frame for the palette (and at all of the first ones) and does not dither;
              balanced diffuses errors, which looks smoother and costs time and bytes;
              small makes the palette from what changes between frames, does not dither, and of colours that
              are near enough takes those that compress (`gif_strings`; a mask's stay the nearest)

The palette needs every frame before the first one can be written: frames wait losslessly compressed (FFV1) in a
scratch file beside the part. A pixel is transparent where the matte is below one half. Delays are hundredths of a
second; each frame is at the nearest one, so that errors do not add up. One that is shown for longer than a delay can
say is written again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, cast

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from birefnet_batch.errors import OutputError
from birefnet_batch.overlap import Channel, Stages
from birefnet_batch.storage.written_file import WrittenFile
from birefnet_batch.video.encode import EncodeSpec, Kind, PartWriter, discard
from birefnet_batch.video.formats import GIF, LONGEST_DELAY
from birefnet_batch.video.gif_strings import Strings
from birefnet_batch.video.libav_writer import output_errors

COLOURS = {"low": 32, "medium": 64, "high": 128, "maximum": 256}
DITHER = {"fast": "none", "balanced": "sierra2_4a", "small": "none"}
STATISTICS = {"fast": "full", "balanced": "full", "small": "diff"}
_PALETTE_FIRST = 8  # frames of a short video that are all looked at
PALETTE_EVERY = {"fast": 4, "balanced": 1, "small": 1}
MOST_SCRATCH_BYTES = 32 * 1024**3
_OPAQUE_FROM = 128
_WAITING = 4  # frames between palette and encoder
_OPAQUE = np.uint32(255 << 24)
_COUNTED = Fraction(1, 25)  # seconds a tick where frames are only counted: in the scratch file and the graphs
_FORMAT = av.VideoFormat("bgra")
assert GIF.tick is not None
_TICK = GIF.tick


class GifWriter(PartWriter):
    """Collects frames in `write`, writes the file in `finish`; see the module."""

    codec: ClassVar[str] = "gif"

    def __init__(self, path: Path, spec: EncodeSpec, kind: Kind) -> None:
        super().__init__(path, spec)
        self._times: list[int] = []
        self._first = 0
        self._end = 0
        self._reformatter = VideoReformatter()
        self._scratch = path.with_name(f"{path.name}.frames")
        transparent = spec.alpha and kind == "video"
        self._palette = _palette_graph(spec, transparent)
        self._strings = Strings(spec.quality) if spec.write_mode == "small" and kind == "video" else None
        with output_errors(self._scratch):
            self._file = WrittenFile(self._scratch)
            self._container = av.open(self._file, "w", format="nut")
            # Level 3 cuts pictures into slices, and cannot cut one that is a pixel wide.
            level = "3" if spec.width > 1 else "1"
            self._stream = self._container.add_stream("ffv1", rate=1 / _COUNTED, options={"level": level})
            self._stream.width, self._stream.height = spec.width, spec.height
            self._stream.pix_fmt = "bgra"
            self._stream.codec_context.thread_count = spec.threads

    def write(self, image: NDArray[np.uint8], pts: int, duration: int) -> None:
        """See `PartWriter.write`."""
        frame = self._bgra(image)
        frame.pts, frame.time_base = len(self._times), _COUNTED
        if not self._times:
            self._first = pts
        at = self._tick(pts)
        if self._times:
            # Above 100 frames a second there are more frames than hundredths.
            at = max(at, self._times[-1] + 1)
            # What comes after just that time is known by it as the frame before, written again.
            at -= (at - self._times[-1]) % LONGEST_DELAY == 0
        self._times.append(at)
        self._end = max(self._tick(pts + duration), self._times[-1] + 1)
        index = len(self._times) - 1
        if index < _PALETTE_FIRST or index % PALETTE_EVERY[self.spec.write_mode] == 0:
            self._palette.vpush(frame)
            # A graph works when it is asked for something; until then it keeps every frame.
            for _ in _pulled(self._palette):
                raise AssertionError("a palette is there before the last frame")
        with output_errors(self._scratch):
            self._container.mux(self._stream.encode(frame))
        if self._scratch.stat().st_size > MOST_SCRATCH_BYTES:
            raise OutputError(
                f"{self._scratch} has grown to {MOST_SCRATCH_BYTES / 1e9:.0f} GB of waiting frames; "
                "a GIF of this size is of no use: give another video_output_type, or a shorter video"
            )

    def finish(self) -> None:
        """See `PartWriter.finish`."""
        try:
            with output_errors(self._scratch), self._file:
                self._container.mux(self._stream.encode(None))
                self._container.close()
            with output_errors(self.path):
                if self._times:
                    self._write_file()
        finally:
            discard(self._scratch)

    def abort(self) -> None:
        """See `PartWriter.abort`."""
        try:
            # The error that led here is the one to report.
            with suppress(av.error.FFmpegError, OSError), self._file:
                self._container.close()
        finally:
            discard(self._scratch)

    def _bgra(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """A frame (H, W), (H, W, 3) or (H, W, 4) in colours whose alpha is 0 or 255, black where it is 0."""
        if image.ndim == 2:
            return av.VideoFrame.from_ndarray(np.dstack([image, image, image, np.full_like(image, 255)]), format="bgra")
        if image.shape[2] == 4:
            pixels = image.view("<u4")[..., 0]
            image = np.where(image[..., 3] >= _OPAQUE_FROM, pixels | _OPAQUE, 0).astype("<u4")[..., None].view(np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
        return self._reformatter.reformat(frame, format="bgra")

    def _tick(self, pts: int) -> int:
        # A GIF begins with its first frame: rounded by itself, a later start would add its own error.
        return math.floor((pts - self._first) * self.spec.time_base / _TICK + Fraction(1, 2))

    def _write_file(self) -> None:
        written = [range(at, following, LONGEST_DELAY) for at, following in pairwise((*self._times, self._end))]
        options = {"loop": "0", "final_delay": str(self._end - written[-1][-1]), "fflags": "+bitexact"}
        with (
            av.open(str(self._scratch)) as waiting,
            WrittenFile(self.path) as file,
            av.open(file, "w", format="gif", options=options) as output,
        ):
            stream = output.add_stream("gif", rate=100)
            stream.width, stream.height, stream.pix_fmt = self.spec.width, self.spec.height, "pal8"
            stream.codec_context.time_base = _TICK
            if self.spec.sample_aspect_ratio is not None:
                stream.codec_context.sample_aspect_ratio = self.spec.sample_aspect_ratio
            waiting.streams.video[0].thread_type = "AUTO"
            waiting.streams.video[0].codec_context.thread_count = self.spec.threads
            with Stages() as stages:
                paletted: Channel[av.VideoFrame] = stages.channel(_WAITING)

                def find_colours() -> None:
                    for frame in self._thrifty(waiting.decode(video=0)):
                        paletted.put(frame)
                    paletted.close()

                stages.start("palette", find_colours)
                for times, frame in zip(written, paletted, strict=True):
                    for at in times:
                        frame.pts, frame.time_base = at, _TICK
                        output.mux(stream.encode(frame))
            output.mux(stream.encode(None))

    def _thrifty(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        if self._strings is None:
            yield from self._paletted(frames)
            return
        pixels: deque[NDArray[np.uint8]] = deque()

        def remembered() -> Iterator[av.VideoFrame]:
            for frame in frames:
                pixels.append(cast(NDArray[np.uint8], frame.to_ndarray()))
                yield frame

        for paletted in self._paletted(remembered()):
            yield self._strings.bend(pixels.popleft(), paletted)

    def _paletted(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        spec = self.spec
        self._palette.vpush(None)
        palette = self._palette.vpull()
        graph = Graph()
        source = graph.add_buffer(width=spec.width, height=spec.height, format=_FORMAT, time_base=_COUNTED)
        colours = graph.add_buffer(
            width=palette.width, height=palette.height, format=palette.format, time_base=_COUNTED
        )
        use = graph.add(
            "paletteuse", f"dither={DITHER[spec.write_mode]}:alpha_threshold={_OPAQUE_FROM}:diff_mode=rectangle"
        )
        sink = graph.add("buffersink")
        source.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        palette.pts, palette.time_base = 0, _COUNTED
        colours.push(palette)
        colours.push(None)
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, _COUNTED
            source.push(frame)
            yield from _pulled(graph)
        source.push(None)
        yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _palette_graph(spec: EncodeSpec, transparent: bool) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=spec.width, height=spec.height, format=_FORMAT, time_base=_COUNTED)
    generate = graph.add(
        "palettegen",
        f"max_colors={COLOURS[spec.quality]}:reserve_transparent={int(transparent)}"
        f":stats_mode={STATISTICS[spec.write_mode]}",
    )
    sink = graph.add("buffersink")
    source.link_to(generate)
    generate.link_to(sink)
    graph.configure()
    return graph
