"""VP9 in WebM: yuva420p, the alpha in block additions as browsers read it; BT.709, limited range.

Quality is libvpx's constant quality, write mode its deadline and speed:

    quality   low 42, medium 34, high 26, maximum 16
    mode      fast realtime 7, balanced good 4, small good 1

WebM's clock has milliseconds: each frame is at the nearest one. A mask is yuv420p, grey, without alpha.
"""

from __future__ import annotations

from typing import ClassVar

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from birefnet_batch.video.info import LARGE
from birefnet_batch.video.libav_writer import LibavWriter, grey_420, keyframe_interval

CRF = {"low": 42, "medium": 34, "high": 26, "maximum": 16}
SPEED = {"fast": ("realtime", 7), "balanced": ("good", 4), "small": ("good", 1)}
ALPHA_TAG = {"alpha_mode": "1"}


class Vp9Writer(LibavWriter):
    """See the module."""

    codec: ClassVar[str] = "libvpx-vp9"

    @property
    def pixel_format(self) -> str:
        """See `LibavWriter`."""
        return "yuva420p" if self.spec.alpha and self.kind == "video" else "yuv420p"

    def set_up(self, context: VideoCodecContext) -> None:
        """See `LibavWriter`."""
        deadline, speed = SPEED[self.spec.write_mode]
        context.gop_size = keyframe_interval(self.spec)
        context.options = {
            "crf": str(CRF[self.spec.quality]),
            "b": "0",
            "deadline": deadline,
            "cpu-used": str(speed),
            "row-mt": "1",
            # A frame that is not shown has no place for its alpha.
            "auto-alt-ref": "0",
        }
        if self.size[0] * self.size[1] > LARGE:
            # Without such frames it makes next to nothing of the 25 that it would keep, and as many of their alpha.
            context.options |= {"lag-in-frames": "0"}

    def mark_alpha(self) -> None:
        """See `LibavWriter`."""
        self.metadata.update(ALPHA_TAG)

    def _grey(self, mask: NDArray[np.uint8]) -> av.VideoFrame:
        return grey_420(mask, self.size)
