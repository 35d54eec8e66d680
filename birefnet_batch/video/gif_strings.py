"""Fewer bytes of a GIF: of the colours that are near enough the one that continues a string its compression knows.

GIF's LZW writes one code for the longest string of pixels that it has seen before. The nearest colours of a noisy
picture repeat few strings; a colour next to the nearest often repeats one. The dictionary is kept here as the encoder
keeps it, and a pixel takes the nearest colour that makes the string go on, if its squared error is at most
`TOLERANCE` above the nearest one's. The idea is that of gifsicle's `--lossy`. Colours that the palette has
exactly stay, and so does what is clear.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from birefnet_batch.matting.compiled import compiled

TOLERANCE = {"low": 320, "medium": 200, "high": 120, "maximum": 70}
"""By quality, in squared code values summed over three channels: about what a palette of its size errs on average."""
_NEIGHBOURS = 12
_CODES = 4096
_FIRST_CODE = 258  # after 256 colours, `clear` and `end`
_NO_COLOUR = 256


class Strings:
    """Bends the frames of one video to its compression.

    Args:
        quality: low, medium, high or maximum.
    """

    def __init__(self, quality: str) -> None:
        self._tolerance = TOLERANCE[quality]
        self._palette: NDArray[np.int32] | None = None
        self._neighbours: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._clear = _NO_COLOUR

    def bend(self, pixels: NDArray[np.uint8], paletted: av.VideoFrame) -> av.VideoFrame:
        """A frame of the same palette that needs fewer bytes.

        Args:
            pixels: (H, W, 4) BGRA, the colours as they should be.
            paletted: the nearest ones, pal8; every frame has the same palette.
        """
        planes = paletted.to_ndarray()
        indexes, palette = np.ascontiguousarray(planes[0]), planes[1]
        if self._palette is None:
            self._learn(palette)
        assert self._palette is not None
        _bend(pixels, indexes, self._palette, self._neighbours, self._tolerance, self._clear)
        return av.VideoFrame.from_ndarray((indexes, palette), format="pal8")  # type: ignore[arg-type]

    def _learn(self, palette: NDArray[np.uint8]) -> None:
        """Of each colour, its nearest ones; `palette` is (256, 4) ARGB."""
        self._palette = np.ascontiguousarray(palette[:, :0:-1].astype(np.int32))
        distances = np.square(self._palette[:, None] - self._palette[None]).sum(axis=-1)
        clear = np.flatnonzero(palette[:, 0] == 0)
        if clear.size:
            self._clear = int(clear[0])
        far = np.iinfo(distances.dtype).max
        distances[:, clear] = far
        np.fill_diagonal(distances, far)
        self._neighbours = np.argsort(distances, axis=1, kind="stable")[:, :_NEIGHBOURS].astype(np.uint8)


@compiled
def _error(pixel: NDArray[np.uint8], colour: NDArray[np.int32]) -> np.int64:
    total = np.int64(0)
    for channel in range(3):
        difference = np.int64(pixel[channel]) - colour[channel]
        total += difference * difference
    return total


@compiled
def _bend(
    pixels: NDArray[np.uint8],
    indexes: NDArray[np.uint8],
    palette: NDArray[np.int32],
    neighbours: NDArray[np.uint8],
    tolerance: int,
    clear: int,
) -> None:
    height, width = indexes.shape
    top, bottom, left, right = height, -1, width, -1
    for y in range(height):
        for x in range(width):
            if indexes[y, x] != clear:
                top, bottom, left, right = min(top, y), max(bottom, y), min(left, x), max(right, x)
    children = np.zeros((_CODES, 256), np.int16)
    code = _FIRST_CODE
    string = np.int64(-1)
    # Outside of this nothing is written.
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            nearest = np.int64(indexes[y, x])
            if string < 0:
                string = nearest
                continue
            if children[string, nearest] == 0 and nearest != clear:
                error = _error(pixels[y, x], palette[nearest])
                most = error + tolerance if error else np.int64(-1)
                for place in range(neighbours.shape[1]):
                    other = np.int64(neighbours[indexes[y, x], place])
                    if children[string, other] != 0:
                        error = _error(pixels[y, x], palette[other])
                        if error <= most:
                            most, nearest = error - 1, other
                indexes[y, x] = nearest
            if children[string, nearest] != 0:
                string = np.int64(children[string, nearest])
                continue
            if code < _CODES - 1:
                children[string, nearest] = code
                code += 1
            else:
                children[:] = 0
                code = _FIRST_CODE
            string = nearest
