"""The group `media`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings.fields import Choice, Group, setting


class Alpha(Choice):
    """How colours and an alpha channel go together."""

    auto = "auto"
    straight = "straight"
    premultiplied = "premultiplied"


class CorruptFrames(Choice):
    """What is done with frames that cannot be decoded, or only in part."""

    conceal = "conceal"
    drop = "drop"
    fail = "fail"


@dataclass(frozen=True)
class MediaSettings(Group):
    """What the written media look like."""

    background: str = setting(
        "auto",
        "behind the subject: auto (none, black for x264) | none | blur (of the source) | a colour's name, '#rrggbb' "
        "or 'r,g,b' | a picture or video file",
    )
    alpha: Alpha = setting(
        Alpha.auto, "colours beside alpha: auto (what the type's players expect) | straight | premultiplied"
    )
    audio: bool = setting(True, "carry the source's audio over")
    # Of any type here: YAML reads a bare `off` as false.
    hardware: Any = setting(
        "off", "hardware encoder (NVENC, for x264): off | auto (where it works; recorded) | require"
    )
    encoder_threads: int = setting(4, "threads of the video encoder; part of what decides the bytes")
    segment_frames: int | None = setting(None, "frames a segment, up to its next keyframe; null is one segment a video")
    decode_timeout_s: float = setting(60.0, "seconds the decoding process may take for one frame")
    decode_memory_bytes: int = setting(4 * 1024**3, "what the decoding process may allocate, in bytes")
    corrupt_frames: CorruptFrames = setting(
        CorruptFrames.conceal, "conceal (keep what the decoder mended) | drop | fail; above 5 % every video fails"
    )
    # Of any type here: YAML reads bare `on` and `off` as booleans.
    deinterlace: Any = setting("auto", "auto (frames marked as interlaced) | on (every frame) | off")

    @property
    def hardware_wish(self) -> Literal["off", "auto", "require"]:
        """`hardware`, read.

        Raises:
            ConfigError: it is none of the words.
        """
        words: dict[str, Literal["off", "auto", "require"]] = {"off": "off", "auto": "auto", "require": "require"}
        word = "off" if self.hardware is False else str(self.hardware).strip().lower()
        if word not in words:
            raise ConfigError(f"media.hardware is {self.hardware!r}; give off, auto or require")
        return words[word]

    @property
    def deinterlace_wish(self) -> str:
        """`deinterlace`, read.

        Raises:
            ConfigError: it is none of the words.
        """
        word = str({True: "on", False: "off"}.get(self.deinterlace, self.deinterlace)).strip().lower()
        if word not in ("auto", "on", "off"):
            raise ConfigError(f"media.deinterlace is {self.deinterlace!r}; give auto, on or off")
        return word
