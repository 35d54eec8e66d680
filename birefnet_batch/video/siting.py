"""Where chroma of half the width lies, told to libav, which otherwise takes it to lie between two pixels."""

from __future__ import annotations

from itertools import pairwise

import av
from av.filter import Graph


class LeftChroma:
    """Says of frames that their chroma lies at the left one of two pixels, as MPEG-2 and H.264 have it.

    PyAV has no attribute for it: a filter of libav's says it. `reformat` puts the chroma of what it makes there too.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def marked(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same picture, which shares its memory."""
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _graph(*shape), shape
        self._graph.vpush(frame)
        return self._graph.vpull()


def _graph(width: int, height: int, pixel_format: str) -> Graph:
    graph = Graph()
    # Nothing is computed: threads, one a core, would only wait.
    graph.threads = 1
    nodes = [
        graph.add("buffer", f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base=1/1000"),
        graph.add("setparams", "chroma_location=left"),
        graph.add("buffersink"),
    ]
    for node, following in pairwise(nodes):
        node.link_to(following)
    graph.configure()
    return graph
