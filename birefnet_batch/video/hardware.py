"""Which encoder writes a type: software, or NVIDIA's where it is wished for and works here.

Whether it works is found out by encoding: a library that lists an encoder says nothing of the machine, and cards
such as A100 and H100 have none.
"""

from __future__ import annotations

import io
from functools import cache

import av
import numpy as np

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import MediaSettings
from birefnet_batch.video.container import reason_of
from birefnet_batch.video.formats import FORMATS, Format

SIDES = {"h264_nvenc": ((146, 4096), (50, 4096))}
"""The least and the most width and height that an encoder takes, in pixels (NVENC's application note, H.264)."""
_PROBED = (320, 192, 4)


def encoder_of(form: Format, media: MediaSettings) -> str:
    """The libav encoder that `media.hardware` and this machine give a type; the same in every call.

    Raises:
        ConfigError: hardware is required, and there is none that writes this type.
    """
    if media.hardware_wish == "off":
        return form.encoder
    check_type(form, media)
    trouble = _trouble(form)
    if trouble is None:
        assert form.hardware_encoder is not None
        return form.hardware_encoder
    if media.hardware_wish == "require":
        raise ConfigError(
            f"media.hardware is require, and {trouble}; {form.encoder} can be had. Give media.hardware auto or off, "
            "or run where an NVIDIA card with an encoder and its driver are (A100 and H100 have none)"
        )
    return form.encoder


def check_type(form: Format, media: MediaSettings) -> None:
    """See that hardware is not required of a type that no machine's hardware writes.

    Raises:
        ConfigError: it is.
    """
    if media.hardware_wish == "require" and form.hardware_encoder is None:
        others = [other.output_type for other in FORMATS.values() if other.hardware_encoder]
        raise ConfigError(
            f"media.hardware is require, and {_trouble(form)}; {form.encoder} can be had. "
            f"Give media.hardware auto or off, or give video_output_type {' or '.join(others)}"
        )


def _trouble(form: Format) -> str | None:
    """Why hardware does not write a type here; None: it does."""
    if form.hardware_encoder is None:
        return f"no hardware encoder writes {form.output_type}"
    problem = why_not(form.hardware_encoder)
    if problem is None:
        return None
    return f"{form.hardware_encoder} was tried for {form.output_type} and does not work here: {problem}"


def fitting(form: Format, media: MediaSettings, size: tuple[int, int]) -> tuple[str, tuple[str, ...]]:
    """The encoder for frames of a size (width, height), and a note why it is not the hardware that was asked for.

    Raises:
        ConfigError: hardware is required and cannot be used.
    """
    encoder = encoder_of(form, media)
    if media.hardware_wish == "auto" and encoder == form.encoder:
        return encoder, (f"{encoder} was used: {_trouble(form)}",)
    limits = SIDES.get(encoder)
    if limits is None or all(least <= side <= most for side, (least, most) in zip(size, limits, strict=True)):
        return encoder, ()
    allowed = " and ".join(f"{least} to {most}" for least, most in limits)
    trouble = f"{encoder} takes widths and heights of {allowed} pixels, and the video has {size[0]}x{size[1]}"
    if media.hardware_wish == "require":
        raise ConfigError(f"media.hardware is require, and {trouble}; give media.hardware auto or off")
    return form.encoder, (f"{form.encoder} was used: {trouble}",)


@cache
def why_not(encoder: str) -> str | None:
    """Encode some frames into memory: None where that works, else the reason why it does not."""
    width, height, frames = _PROBED
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said:
            try:
                with av.open(io.BytesIO(), "w", format="mp4") as container:
                    stream = container.add_stream(encoder, rate=25)
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # type: ignore[union-attr]
                    for number in range(frames):
                        image = np.full((height, width, 3), 40 * number, np.uint8)
                        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                        container.mux(stream.encode(frame))  # type: ignore[union-attr,arg-type]
                    container.mux(stream.encode(None))  # type: ignore[union-attr]
            except (av.error.FFmpegError, OSError, ValueError) as error:
                spoken = [message.strip() for _, name, message in said if message.strip()]
                return (spoken[0] if spoken else reason_of(error)).rstrip(".")
    finally:
        av.logging.set_level(level)
    return None
