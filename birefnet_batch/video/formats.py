"""What each output type is made of: container, suffix, ticks, what it carries."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from birefnet_batch.errors import ConfigError, InputError
from birefnet_batch.video.timestamps import LONGEST_S

# libav's muxer of MP4 and MOV counts a frame's ticks in 31 bits, and a frame may be shown as long as is believed.
_MOST_TICKS_A_SECOND = ((1 << 31) - 1) // int(LONGEST_S)
# What MPEG's systems have, of which the usual frame rates are whole parts.
_USUAL_TICKS_A_SECOND = 90_000


@dataclass(frozen=True, kw_only=True)
class Format:
    """One output type, in the API's spelling."""

    output_type: str
    content_type: str
    suffix: str
    muxer: str
    """libav's name of the container."""
    encoder: str
    """libav's name of the encoder of its pictures."""
    alpha: bool
    """Whether its pictures carry an alpha channel."""
    even: bool
    """Whether its pictures have even sides only."""
    tick: Fraction | None
    """Seconds a tick of the container's clock; None: the source's own, if it is not too fine."""
    copied_audio: frozenset[str]
    """Codecs of sound that are carried over as they are."""
    encoded_audio: str | None
    """The encoder of other sound; None: the type is silent."""
    subtitles: str | None = None
    """The encoder of subtitles; None: the type has none."""
    hardware_encoder: str | None = None
    """libav's name of another encoder of them, in hardware; None: there is none."""
    bits: int = 8
    """Of a component of its pictures."""
    joinable: bool = True
    """Whether segments that were encoded apart can be one file."""
    longest_side: int = 65535
    """The most pixels that its encoder takes in a row or a column."""

    @property
    def wide(self) -> bool:
        """Whether it keeps more than 8 bits."""
        return self.bits > 8

    def time_base(self, source: Fraction) -> Fraction:
        """Seconds a tick in the file, for a source's."""
        if self.tick is not None:
            return self.tick
        ticks = source.denominator
        if ticks <= _MOST_TICKS_A_SECOND:
            return source
        least = -(-ticks // _MOST_TICKS_A_SECOND)
        coarser = (ticks // by for by in range(least, ticks // _USUAL_TICKS_A_SECOND + 1) if ticks % by == 0)
        return Fraction(1, next(coarser, _USUAL_TICKS_A_SECOND))

    def check_size(self, width: int, height: int) -> None:
        """Refuse pictures that the encoder does not take.

        Raises:
            InputError: a side is too long; the message names the types that take it.
        """
        if max(width, height) > self.longest_side:
            others = [form.output_type for form in FORMATS.values() if form.longest_side >= max(width, height)]
            hint = f"give video_output_type {' or '.join(others)}, or a smaller video" if others else "make it smaller"
            raise InputError(
                f"The video has {width}x{height} pixels, and {self.output_type} takes sides of up to "
                f"{self.longest_side}; {hint}"
            )

    def coded(self, side: int) -> int:
        """The side that is coded for a side of a frame, in pixels."""
        return side + side % 2 if self.even else side


_MP4_AUDIO = frozenset(("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"))
_PCM = frozenset(f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be"))
_MOV_AUDIO = _PCM | {"aac", "mp3", "ac3", "eac3", "alac"}
_WEBM_AUDIO = frozenset(("opus", "vorbis"))
LONGEST_DELAY = 65_535
"""Hundredths of a second that a frame of a GIF can be shown for; one that is shown for longer is written again."""
_MILLISECOND, _HUNDREDTH = Fraction(1, 1000), Fraction(1, 100)

X264 = Format(
    output_type="X264 (.mp4)",
    content_type="video/mp4",
    suffix=".mp4",
    muxer="mp4",
    encoder="libx264",
    alpha=False,
    even=True,
    tick=None,
    copied_audio=_MP4_AUDIO,
    encoded_audio="aac",
    subtitles="mov_text",
    hardware_encoder="h264_nvenc",
    longest_side=16384,
)
VP9 = Format(
    output_type="VP9 (.webm)",
    content_type="video/webm",
    suffix=".webm",
    muxer="webm",
    encoder="libvpx-vp9",
    alpha=True,
    even=False,
    tick=_MILLISECOND,
    copied_audio=_WEBM_AUDIO,
    encoded_audio="libopus",
    subtitles="webvtt",
    longest_side=65536,
)
PRORES = Format(
    output_type="PRORES4444 (.mov)",
    content_type="video/quicktime",
    suffix=".mov",
    muxer="mov",
    encoder="prores_ks",
    alpha=True,
    even=False,
    tick=None,
    copied_audio=_MOV_AUDIO,
    encoded_audio="aac",
    subtitles="mov_text",
    bits=10,
)
GIF = Format(
    output_type="GIF (.gif)",
    content_type="image/gif",
    suffix=".gif",
    muxer="gif",
    encoder="gif",
    alpha=True,
    even=False,
    tick=_HUNDREDTH,
    copied_audio=frozenset(),
    encoded_audio=None,
    joinable=False,
)
FORMATS = {item.output_type: item for item in (X264, VP9, PRORES, GIF)}


def format_of(output_type: str) -> Format:
    """The format behind an output type.

    Raises:
        ConfigError: it is not written by this version; the message names those that are.
    """
    if output_type not in FORMATS:
        raise ConfigError(
            f"video_output_type {output_type} is not written by this version; give {' or '.join(FORMATS)}"
        )
    return FORMATS[output_type]
