"""What the steps of a segment pass on: what is to be done, its frames on their way, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.counted import Note
from birefnet_batch.device_streams import Moment
from birefnet_batch.segments import Segment
from birefnet_batch.storage.finished_parts import part_name
from birefnet_batch.video.child import MEMORY_BYTES
from birefnet_batch.video.encode import EncodeSpec, Kind
from birefnet_batch.video.formats import Format, format_of
from birefnet_batch.video.info import VideoInfo

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SegmentTask:
    """All that it takes to work on one segment; the same task gives the same parts wherever it runs."""

    source: Path
    info: VideoInfo
    segment: Segment
    size: tuple[int, int]
    """Operating resolution, (width, height)."""
    refine_foreground: bool
    backdrop: Backdrop
    """What is behind the subject; of kind none the video has an alpha channel."""
    premultiplied: bool
    """Whether colours are multiplied by that alpha channel."""
    encode: EncodeSpec
    folder: Path
    """Where the parts go."""
    kinds: tuple[Kind, ...]
    decode_timeout_s: float
    decode_memory_bytes: int = MEMORY_BYTES
    corrupt_frames: str = "conceal"
    """What is done with frames that are decoded in part: conceal, drop or fail."""
    deinterlace: str = "auto"
    """Which frames are deinterlaced: auto, on or off."""

    @property
    def form(self) -> Format:
        """The output type."""
        return format_of(self.encode.output_type)

    def part(self, kind: Kind) -> Path:
        """The file of this segment's video or mask."""
        return self.folder / part_name(kind, self.segment.index)


@dataclass(frozen=True)
class SegmentRecord:
    """What came of a segment; small, for it travels between processes."""

    index: int
    frames: int
    end: int
    """When the last frame ends, in ticks of the source's time base."""
    seconds: dict[str, float]
    parts: dict[Kind, Path]
    corrupt_frames: int = 0
    """How many could not be decoded, or only in part."""
    notes: tuple[Note, ...] = ()


@dataclass
class Batch:
    """Frames on their way, on the device: uint8 or uint16 (B, H, W, 3) RGB, later their mattes."""

    frames: torch.Tensor
    times: list[tuple[int, int]]
    ready: Moment
    """When the device has made the last of it."""
    begun: Moment | None = None
    """When it began with the mattes."""
    alpha: torch.Tensor | None = None
    """The source's own, uint8 or uint16 (B, 1, H, W), where it has any; the frames are then over black."""
    mattes: torch.Tensor | None = None
    """float32 (B, 1, H, W) in [0, 1]."""

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All of it that is on the device."""
        return [tensor for tensor in (self.frames, self.alpha, self.mattes) if tensor is not None]
