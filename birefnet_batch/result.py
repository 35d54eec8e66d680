"""What comes back of one video: the fields of fal's birefnet/v2/video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# A plain dict, so that reading a result does not load pydantic: only the schemas need it.
_DOCUMENTED = {"use_attribute_docstrings": True}


@dataclass(frozen=True)
class VideoFile:
    """One media file of a result, as the API describes it."""

    __pydantic_config__ = _DOCUMENTED

    content_type: str
    """MIME type."""
    duration: float
    """Seconds."""
    file_name: str
    fps: float
    """Frames a second; the average where the rate varies."""
    height: int
    """Pixels."""
    num_frames: int
    url: str
    """Absolute URI: file://... or, with sync_mode, a data URI."""
    width: int
    """Pixels."""
    file_size: int
    """Bytes."""


@dataclass(frozen=True)
class Result:
    """What the API returns for one video."""

    __pydantic_config__ = _DOCUMENTED

    video: VideoFile
    """The cut-out."""
    mask_video: VideoFile | None = None
    """The mask; absent unless output_mask was given."""

    def to_dict(self) -> dict[str, Any]:
        """The API's output: `mask_video` is absent, not null, when it was not asked for."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Read what `to_dict` gave."""
        mask = data.get("mask_video")
        return cls(VideoFile(**data["video"]), VideoFile(**mask) if mask else None)
