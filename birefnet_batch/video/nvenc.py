"""H.264 in MP4 by NVIDIA's encoder: as `x264`, with constant quality where that has a rate factor.

    quality   low 33, medium 28, high 23, maximum 17
    mode      fast preset p1, balanced p4, small p7

The same card and driver give the same bytes; others need not.
"""

from __future__ import annotations

from typing import ClassVar

from av.video.codeccontext import VideoCodecContext

from birefnet_batch.video.libav_writer import keyframe_interval
from birefnet_batch.video.x264 import X264Writer

CONSTANT_QUALITY = {"low": 33, "medium": 28, "high": 23, "maximum": 17}
PRESET = {"fast": "p1", "balanced": "p4", "small": "p7"}


class NvencWriter(X264Writer):
    """See the module."""

    codec: ClassVar[str] = "h264_nvenc"

    def set_up(self, context: VideoCodecContext) -> None:
        """See `LibavWriter`."""
        context.gop_size = keyframe_interval(self.spec)
        context.options = {
            "preset": PRESET[self.spec.write_mode],
            "tune": "hq",
            "rc": "vbr",
            "cq": str(CONSTANT_QUALITY[self.spec.quality]),
            # Without it a bit rate of libav's own bounds the quality.
            "b": "0",
            "profile": "high",
        }
