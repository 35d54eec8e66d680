"""Decoded pictures to RGB: matrix, range, size and orientation, once, in the decoder's process."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from birefnet_batch.video.info import BT709, Levels, split
from birefnet_batch.video.side_data import display_matrix, peak_light
from birefnet_batch.video.wide import GREY_BLACK, GREY_WHITE, LIMITED_WHITE, WHITE, full_white, table

# Pictures of 720 lines and more are BT.709 where nothing says otherwise (ITU-R BT.709, EBU R 103 practice).
_HD_HEIGHT = 720
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""How YCbCr becomes RGB, by the numbers of ITU-T H.273, which are libav's; the others are taken for untagged."""
# What H.273 defines of pictures' primaries and transfer functions; anything else is taken for BT.709.
_PRIMARIES = frozenset((1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22))
_TRANSFERS = frozenset((1, 4, 5, 6, 7, 8, 11, 13, 14, 15, 16, 18))
_FULL_FORMATS = ("yuvj", "rgb", "bgr", "gbr", "pal8", "gray", "0rgb", "0bgr", "argb", "abgr", "ya", "mono")
_GREY_FORMATS = ("gray", "ya")
# Without accurate rounding and full chroma swscale is off by up to 3 code values, and darker by 1.1 on average;
# bit-exact, it gives the same on every processor.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
_THREADS = 2
_RGB_OF_GBR = (2, 0, 1)


class Picture:
    """Writes decoded frames as (H, W, 3) RGB of the first frame's size, upright.

    Those with an alpha channel, which is taken for straight, are laid over black, as players show them; their alpha
    is written beside them.

    Args:
        first: the video's first frame.
        wide: write uint16 instead of uint8.
        alpha: later frames may have an alpha channel, whatever the first one has.
    """

    def __init__(self, first: av.VideoFrame, wide: bool = False, alpha: bool = False) -> None:
        self._wide = wide
        self._reformatter = VideoReformatter()
        self._coded = (first.width, first.height)
        self._hflip, self._vflip, self.swaps_sides = _orientation(first)
        width, height = self._coded
        self.width, self.height = (height, width) if self.swaps_sides else (width, height)
        primaries, transfer = int(first.color_primaries), int(first.color_trc)
        self.primaries = primaries if primaries in _PRIMARIES else BT709
        """The colour primaries' number in ITU-T H.273."""
        self.transfer = transfer if transfer in _TRANSFERS else BT709
        """The transfer function's, likewise."""
        self.peak = peak_light(first)
        """The brightest light in cd/m2, where the file says it."""
        self.alpha = alpha or _has_alpha(first)
        """Whether frames have an alpha channel."""
        # Palettes have components of their own; floating point has more than can be handed on.
        self.bits = min(16, max(8, *(part.bits for part in first.format.components)))
        """Of a component."""
        self.transparent = 0
        """How many frames are not opaque everywhere."""
        self.left_out = 0
        """How many frames had an alpha channel and the first one none."""
        self.resized = 0
        """How many frames had another size than the first one."""

    def write(self, frame: av.VideoFrame, memory: NDArray[np.uint8]) -> None:
        """Convert one frame; one of another size is scaled to the first one's.

        Args:
            frame: as decoded.
            memory: `VideoInfo.frame_bytes` to fill.
        """
        channels = 4 if self.alpha else 3
        width, height = self._coded
        self.left_out += not self.alpha and _has_alpha(frame)
        self.resized += (frame.width, frame.height) != self._coded
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=self._format(frame),
            src_colorspace=_matrix(frame),
            src_color_range=ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_EXACT,
            threads=_THREADS,
        )
        colours, alpha = split(memory, self.width, self.height, self._wide)
        if len(rgb.planes) == 1:
            image = self._upright(_samples(rgb, 0, channels).reshape(height, width, channels))
            colours[...] = image[..., :3]
            if alpha is not None:
                alpha[...] = image[..., 3]
        else:
            opaque = full_white(self.bits)
            wanted = WHITE if self._wide else 255
            if _is_limited_grey(frame):
                levels = table(GREY_WHITE, wanted, GREY_BLACK)
            else:
                levels = table(opaque if _is_full(frame) else LIMITED_WHITE, wanted)
            for channel, place in enumerate(_RGB_OF_GBR):
                colours[..., channel] = levels[self._upright(_samples(rgb, place))]
            if alpha is not None:
                alpha[...] = table(opaque, wanted)[self._upright(_samples(rgb, 3))]
        if alpha is not None:
            self._lay(colours, alpha)

    def _format(self, frame: av.VideoFrame) -> str:
        if frame.format.is_rgb:
            return ("rgba64le" if self.alpha else "rgb48le") if self._wide else ("rgba" if self.alpha else "rgb24")
        # libswscale's packed 16-bit RGB of YCbCr overflows at saturated colours, its planes do not; to its 8 bits the
        # white of 10 in full range is 1020, not 1023; and grey of limited range is left to us, with room to spread it.
        if self._wide or (self.bits > 8 and _is_full(frame)) or _is_limited_grey(frame):
            return "gbrap16le" if self.alpha else "gbrp16le"
        return "rgba" if self.alpha else "rgb24"

    def _upright(self, image: Levels) -> Levels:
        if self.swaps_sides:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self._vflip else 1, :: -1 if self._hflip else 1]

    def _lay(self, colours: Levels, alpha: Levels) -> None:
        opaque = np.iinfo(alpha.dtype).max
        if np.min(alpha) < opaque:
            self.transparent += 1
            laid = np.multiply(colours, alpha[..., None], dtype=np.uint32 if self._wide else np.uint16)
            colours[...] = (laid + opaque // 2) // opaque


def _has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)


def _samples(rgb: av.VideoFrame, place: int, channels: int = 1) -> Levels:
    """Return a plane's values (H, W * channels), of 16 bits where its format has them."""
    plane = rgb.planes[place]
    level = np.dtype(np.uint16 if max(part.bits for part in rgb.format.components) > 8 else np.uint8)
    lines: Levels = np.frombuffer(memoryview(plane), level).reshape(-1, plane.line_size // level.itemsize)
    return lines[: rgb.height, : rgb.width * channels]


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(mirrored left to right, mirrored upside down, sides swapped first), from the display matrix."""
    matrix = display_matrix(frame)
    if matrix is None:
        return False, False, False
    # Rows (a b u) (c d v) (x y w): x' = a x + c y, y' = b x + d y.
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) >= abs(b):
        return a < 0, d < 0, False
    return c < 0, b < 0, True


def _matrix(frame: av.VideoFrame) -> Colorspace:
    untagged = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    return MATRICES.get(int(frame.colorspace), untagged)


def _is_full(frame: av.VideoFrame) -> bool:
    tagged = int(frame.color_range)
    if frame.format.name.startswith("grayf"):
        # Floating point has no range but from 0 to 1.
        return True
    if tagged in (ColorRange.MPEG.value, ColorRange.JPEG.value):
        return tagged == ColorRange.JPEG.value
    return frame.format.name.startswith(_FULL_FORMATS)


def _is_limited_grey(frame: av.VideoFrame) -> bool:
    """Whether it is grey that libswscale would take for full range, whatever it is told."""
    return frame.format.name.startswith(_GREY_FORMATS) and not _is_full(frame)
