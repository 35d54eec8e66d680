"""The group `request`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from birefnet_batch.models.registry import SHIPPED
from birefnet_batch.settings.fields import Group, setting


@dataclass(frozen=True)
class RequestSettings(Group):
    """The request fields that every video of the run starts from; a manifest's own fields override them."""

    video_url: str | None = setting(None, "the video: a path, a file, http(s), s3, gs or az URL, or a data URI")
    model: str | None = setting(
        "General Use (Light)",
        f"{' | '.join(SHIPPED.short_names)}, or the API's names, or one of `models`",
    )
    operating_resolution: str | None = setting(
        None, "1024x1024 | 2048x2048 | ...; null is the model's default (Demo 512x512, others 1024x1024)", number=True
    )
    # Of any type here: a request's values are judged in one place, Request.from_dict.
    output_mask: Any = setting(False, "also write the mask video")
    refine_foreground: Any = setting(True, "estimate the foreground's own colours with the mask")
    sync_mode: Any = setting(False, "return media as data URIs in result.json and keep no media files")
    video_output_type: str | None = setting("X264 (.mp4)", "x264 | vp9 | prores4444 | gif")
    video_quality: str | None = setting("high", "low | medium | high | maximum")
    video_write_mode: str | None = setting("balanced", "fast | balanced | small")
