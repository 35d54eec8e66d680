"""Decoded pictures to RGB: matrix, range, size and orientation, once, in the decoder's process."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

# Pictures of 720 lines and more are BT.709 where nothing says otherwise (ITU-R BT.709, EBU R 103 practice).
_HD_HEIGHT = 720
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# Pixel formats that are full range unless they are tagged otherwise.
_FULL_FORMATS = ("yuvj", "rgb", "bgr", "gbr", "pal8", "gray", "ya", "argb", "abgr", "0rgb", "0bgr", "mono")


class Picture:
    """Writes decoded frames as (H, W, 3) uint8 RGB of the first frame's size, upright.

    Args:
        first: the video's first frame.
    """

    def __init__(self, first: av.VideoFrame) -> None:
        self._reformatter = VideoReformatter()
        self._coded = (first.width, first.height)
        # libav gives the counter-clockwise angle that makes the picture upright.
        self._turns = round(first.rotation / 90) % 4
        self.swaps_sides = self._turns % 2 == 1
        width, height = self._coded
        self.width, self.height = (height, width) if self.swaps_sides else (width, height)

    def write(self, frame: av.VideoFrame, target: NDArray[np.uint8]) -> None:
        """Convert one frame; one of another size is scaled to the first one's."""
        width, height = self._coded
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_matrix(frame),
            src_color_range=ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        )
        plane = rgb.planes[0]
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
        image = pixels.reshape(height, width, 3)
        target[...] = np.rot90(image, self._turns) if self._turns else image


def _matrix(frame: av.VideoFrame) -> Colorspace:
    untagged = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    return _MATRICES.get(int(frame.colorspace), untagged)


def _is_full(frame: av.VideoFrame) -> bool:
    tagged = int(frame.color_range)
    if tagged in (ColorRange.MPEG.value, ColorRange.JPEG.value):
        return tagged == ColorRange.JPEG.value
    return frame.format.name.startswith(_FULL_FORMATS)
