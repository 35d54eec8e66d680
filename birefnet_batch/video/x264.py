"""H.264 in MP4: yuv420p, BT.709, limited range.

Quality is libx264's constant rate factor, write mode its preset:

    quality   low 28, medium 23, high 18, maximum 12
    mode      fast veryfast, balanced medium, small slow

A side that is odd is padded by one pixel on the right or at the bottom, a repetition of the edge: yuv420p has no odd
sides. A mask is the matte as luma (0 -> 16, 255 -> 235) with neutral chroma, which every player shows as grey.
"""

from __future__ import annotations

from typing import ClassVar

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from birefnet_batch.video.info import LARGE
from birefnet_batch.video.libav_writer import LibavWriter, grey_420, keyframe_interval

CRF = {"low": 28, "medium": 23, "high": 18, "maximum": 12}
PRESET = {"fast": "veryfast", "balanced": "medium", "small": "slow"}


class X264Writer(LibavWriter):
    """See the module."""

    codec: ClassVar[str] = "libx264"
    # A stream that does not say where its chroma lies has it there (ITU-T H.264, E.2.1).
    left_chroma: ClassVar[bool] = True

    @property
    def pixel_format(self) -> str:
        """See `LibavWriter`."""
        return "yuv420p"

    @property
    def interpolation(self) -> Interpolation:
        """See `LibavWriter`."""
        # Of the mean of two pixels, which it is made of otherwise, chroma at the left one cannot be made.
        return Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP

    def set_up(self, context: VideoCodecContext) -> None:
        """See `LibavWriter`."""
        context.gop_size = keyframe_interval(self.spec)
        context.options = {"crf": str(CRF[self.spec.quality]), "preset": PRESET[self.spec.write_mode], **_repeatable()}
        if self.size[0] * self.size[1] > LARGE:
            # The encoder keeps every frame that it looks ahead at or refers to: forty of 4K are a gigabyte. A matte is
            # flat but for its edges: what it gains by other frames is not worth their memory.
            few = {"rc-lookahead": "0", "bf": "0", "refs": "1"} if self.kind == "mask" else {"rc-lookahead": "5"}
            context.options |= few

    def _grey(self, mask: NDArray[np.uint8]) -> av.VideoFrame:
        return grey_420(mask, self.size)


def _repeatable() -> dict[str, str]:
    """Options without which the same frames give other bytes from time to time.

    For some widths (360 is one) libx264's AVX-512 code for the macroblock tree reads memory that nobody has
    written: in a program that keeps freed memory (`process_tuning`) that is what some frame left there.
    """
    import torch

    return {"x264-params": "asm=AVX2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}
