"""ProRes 4444 in QuickTime: yuva444p10, alpha of 16 bits, limited range, the matrix of BT.709 or of BT.2020.

Quality is the quantiser of every block, the same for the whole video: with it the encoder does not search for one per
slice, which takes most of its time otherwise (docs/encoding.md).

    quality   low 12, medium 8, high 4, maximum 2
    mode      fast and balanced alpha of 16 bits, small of 8 (a level or two less exact)

A mask has the same format without alpha. ProRes has no references between frames: every frame is a keyframe.
"""

from __future__ import annotations

from typing import ClassVar

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace

from birefnet_batch.video.dither import dithered
from birefnet_batch.video.info import Levels
from birefnet_batch.video.libav_writer import LibavWriter, padded

QUANTISER = {"low": 12, "medium": 8, "high": 4, "maximum": 2}
ALPHA_BITS = {"fast": 16, "balanced": 16, "small": 8}
_QUANTISER_UNIT = 118  # FF_QP2LAMBDA: libav's quantisers are given in these
# Full-range grey of 8 and of 16 bits to 10-bit luma in limited range.
_LUMA_10 = {
    np.dtype(level): np.rint(64 + np.arange(most + 1) * (876 / most)).astype("<u2")
    for level, most in ((np.uint8, 255), (np.uint16, 65535))
}


class ProresWriter(LibavWriter):
    """See the module."""

    codec: ClassVar[str] = "prores_ks"

    @property
    def pixel_format(self) -> str:
        """See `LibavWriter`."""
        return "yuva444p10le" if self.spec.alpha and self.kind == "video" else "yuv444p10le"

    def set_up(self, context: VideoCodecContext) -> None:
        """See `LibavWriter`."""
        context.options = {
            "profile": "4444",
            "flags": "+qscale",
            "global_quality": str(QUANTISER[self.spec.quality] * _QUANTISER_UNIT),
            "alpha_bits": str(ALPHA_BITS[self.spec.write_mode]) if self.pixel_format.startswith("yuva") else "0",
            "vendor": "apl0",
        }

    def _colour(self, image: Levels) -> av.VideoFrame:
        if not (self.spec.dither and image.dtype == np.uint16):
            return super()._colour(image)
        return dithered(self._converted(image, self.pixel_format.replace("10le", "16le")), self.pixel_format)

    def _grey(self, mask: Levels) -> av.VideoFrame:
        width, height = self.size
        frame = av.VideoFrame(width, height, self.pixel_format)
        luma = _LUMA_10[mask.dtype][padded(mask, self.size)]
        for plane, values in zip(frame.planes, (luma, 512, 512), strict=True):
            target = np.frombuffer(memoryview(plane), "<u2").reshape(-1, plane.line_size // 2)
            target[:height, :width] = values
        frame.colorspace = Colorspace.ITU709
        frame.color_range = ColorRange.MPEG
        return frame
