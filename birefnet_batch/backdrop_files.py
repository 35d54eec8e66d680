"""Pictures and videos that stand behind the subject, as their files have them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from birefnet_batch.errors import ConfigError
from birefnet_batch.refusals import one_line
from birefnet_batch.video.child import MEMORY_BYTES
from birefnet_batch.video.info import HLG, PQ, VideoInfo

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from birefnet_batch.device_streams import DeviceStreams
    from birefnet_batch.video.reader import FrameReader

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Limits:
    """Of the process that decodes a file."""

    timeout_s: float
    """Seconds that one frame may take."""
    memory_bytes: int = MEMORY_BYTES
    """What it may allocate."""


@dataclass(frozen=True)
class Given:
    """A picture as its file has it."""

    levels: torch.Tensor
    """(1, h, w, 3) RGB in `host_memory`, uint8 of BT.709's colours or, of a high dynamic range, uint16."""
    info: VideoInfo | None
    """Of a high dynamic range, what it is."""
    pixel_shape: Fraction | None = None
    """Width of a pixel over its height; None is square."""


class Film:
    """A video's frames by time, over and over; times must not go back."""

    def __init__(self, path: Path, limits: Limits, streams: DeviceStreams) -> None:
        self._path, self._limits, self._streams = path, limits, streams
        self._context = ExitStack()
        self._frames: Iterator[tuple[Fraction, Given]] = iter(())
        self._shown: Given | None = None
        self._until = Fraction(0)
        self._round = Fraction(0)
        self._delivered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def at(self, time: Fraction) -> Given:
        """The frame that is shown at a time in seconds."""
        while self._shown is None or time >= self._until:
            following = next(self._frames, None)
            if following is None:
                if self._shown is not None:
                    if self._delivered == 1:
                        return self._shown
                    # Each round costs a decoder, and a segment far into the source sees the last one alone.
                    length = self._until - self._round
                    self._round += (time - self._round) // length * length
                self._context.close()
                self._frames, self._delivered = _read(self._context, self._path, self._limits, self._streams), 0
                following = next(self._frames)
            end, self._shown = following
            self._until = self._round + end
            self._delivered += 1
        return self._shown


def _read(context: ExitStack, path: Path, limits: Limits, streams: DeviceStreams) -> Iterator[tuple[Fraction, Given]]:
    """The frames of a file, each with its end in seconds; the context has the decoder."""
    from birefnet_batch.video.reader import FrameReader

    def opened(wide: bool) -> FrameReader:
        reader = FrameReader(path, timeout_s=limits.timeout_s, memory_bytes=limits.memory_bytes, wide=wide)
        return context.enter_context(reader)

    reader = opened(wide=False)
    info = reader.info if reader.info.hdr else None
    if info is not None:
        context.close()
        reader = opened(wide=True)
    for frame in reader:
        levels = _kept(frame.image, streams)
        end = (frame.pts + frame.duration) * reader.info.time_base
        frame.release()
        yield end, Given(levels, info, reader.info.sample_aspect_ratio)


def _kept(image: NDArray[Any], streams: DeviceStreams) -> torch.Tensor:
    import torch

    levels = streams.host_memory((1, *image.shape), torch.from_numpy(image).dtype)
    levels[0] = torch.from_numpy(image)
    return levels


def read_still(path: Path, limits: Limits, streams: DeviceStreams) -> Given:
    """Read a picture upright, transparency over black.

    Raises:
        ConfigError: it cannot be read.
        InputError: likewise, of a high dynamic range.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from birefnet_batch.pictures import open_picture, with_bytes

    try:
        if _is_hdr_png(path):
            with ExitStack() as context:
                return next(_read(context, path, limits, streams))[1]
        with open_picture(path) as file:
            upright = with_bytes(ImageOps.exif_transpose(file)).convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright).convert("RGB")
    except (OSError, ValueError) as error:
        reason = one_line(error)
        raise ConfigError(f"media.background={path} cannot be read as a picture: {reason}") from None
    return Given(_kept(np.array(flat), streams), None)


def _is_hdr_png(path: Path) -> bool:
    """Whether a PNG file says that its transfer function is PQ's or HLG's (PNG, third edition, chunk cICP)."""
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"cICP":
                return file.read(2)[1:] in (bytes([PQ]), bytes([HLG]))
            if kind == b"IDAT":
                return False
            file.seek(length + 4, 1)
    return False
