"""What stands behind the subject in each frame, in the size and the colours of the video that it becomes part of."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.errors import ConfigError
from birefnet_batch.video.info import BT709, BT2020, HLG, PQ, VideoInfo

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from birefnet_batch.device_streams import DeviceStreams
    from birefnet_batch.video.reader import FrameReader

# The blur's box is this part of the longer side; three boxes after each other are nearly a Gaussian.
_BLUR_PART = 24
_BLUR_PASSES = 3
_BLUR_SHRINK = 4
_PNG = b"\x89PNG\r\n\x1a\n"


class Painter:
    """Gives the backdrop of each frame; a context, for a video is read while it runs.

    Args:
        backdrop: of any kind but none.
        streams: of the frames' device.
        time_base: seconds a tick of the frames' times.
        timeout_s: seconds that decoding one frame of a video may take.
        transfer: the transfer function that the made video is to have, by its number in ITU-T H.273.
        primaries: its primaries, likewise.
    """

    def __init__(
        self,
        backdrop: Backdrop,
        streams: DeviceStreams,
        time_base: Fraction,
        timeout_s: float,
        transfer: int = BT709,
        primaries: int = BT709,
    ) -> None:
        self._backdrop = backdrop
        self._streams = streams
        self._time_base = time_base
        self._timeout_s = timeout_s
        self._transfer, self._primaries = transfer, primaries
        self._context = ExitStack()
        self._given: _Given | None = None
        self._made: torch.Tensor | None = None
        self._film: _Film | None = None

    def __enter__(self) -> Self:
        if self._backdrop.kind == "video":
            assert self._backdrop.path is not None
            self._film = self._context.enter_context(_Film(self._backdrop.path, self._timeout_s, self._streams))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def paint(self, frames: torch.Tensor, times: list[int]) -> torch.Tensor:
        """Return what is behind these frames.

        Args:
            frames: the source, (B, 3, H, W) float32 in [0, 1].
            times: when each is shown, in ticks; increasing from call to call.

        Returns:
            (3,) or (1 or B, 3, H, W) float32 in [0, 1] as the made video codes it, on the frames' device.

        Raises:
            ConfigError: the picture behind the subject cannot be read.
            InputError: a picture or video behind the subject cannot be decoded.
        """
        import torch

        if self._backdrop.kind == "blur":
            # It is made of the source, whose colours are the video's.
            return blurred(frames)
        if self._film is not None:
            return torch.cat([self._of_film(self._film.at(at * self._time_base), frames) for at in times])
        if self._made is None:
            if self._backdrop.kind == "colour":
                colour = torch.tensor(self._backdrop.colour, dtype=torch.float32) / 255
                self._made = self._from_sdr(colour).to(frames.device)
            else:
                assert self._backdrop.path is not None
                self._made = self._laid(_read_still(self._backdrop.path, self._timeout_s, self._streams), frames)
        return self._made

    def _of_film(self, given: _Given, frames: torch.Tensor) -> torch.Tensor:
        if self._made is None or given is not self._given:
            self._given, self._made = given, self._laid(given, frames)
        return self._made

    def _laid(self, given: _Given, frames: torch.Tensor) -> torch.Tensor:
        """A picture over the whole frame, (1, 3, H, W), as the made video codes it."""
        from birefnet_batch.matting.tone import between

        levels, info, size = self._streams.upload(given.levels), given.info, frames.shape[2:]
        self._streams.take(self._streams.uploaded(), [levels])
        if info is None:
            return self._from_sdr(covering(levels.permute(0, 3, 1, 2).float().div_(255), size))
        light = between(levels, info.transfer, info.primaries, info.peak, self._transfer, self._primaries)
        return covering(light, size)

    def _from_sdr(self, picture: torch.Tensor) -> torch.Tensor:
        from birefnet_batch.matting.tone import from_sdr

        if self._transfer not in (HLG, PQ) and self._primaries != BT2020:
            return picture
        return from_sdr(picture, self._transfer, self._primaries)


@dataclass(frozen=True)
class _Given:
    """A picture as its file has it."""

    levels: torch.Tensor
    """(1, h, w, 3) RGB in `host_memory`, uint8 of BT.709's colours or, of a high dynamic range, uint16."""
    info: VideoInfo | None
    """Of a high dynamic range, what it is."""


class _Film:
    """A video's frames by time, over and over; times must not go back."""

    def __init__(self, path: Path, timeout_s: float, streams: DeviceStreams) -> None:
        self._path, self._timeout_s, self._streams = path, timeout_s, streams
        self._context = ExitStack()
        self._frames: Iterator[tuple[Fraction, _Given]] = iter(())
        self._shown: _Given | None = None
        self._until = Fraction(0)
        self._round = Fraction(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def at(self, time: Fraction) -> _Given:
        """The frame that is shown at a time in seconds."""
        while self._shown is None or time >= self._until:
            following = next(self._frames, None)
            if following is None:
                self._round = self._until
                self._context.close()
                self._frames = _read(self._context, self._path, self._timeout_s, self._streams)
                following = next(self._frames)
            end, self._shown = following
            self._until = self._round + end
        return self._shown


def _read(
    context: ExitStack, path: Path, timeout_s: float, streams: DeviceStreams
) -> Iterator[tuple[Fraction, _Given]]:
    """The frames of a file, each with its end in seconds; the context has the decoder."""
    from birefnet_batch.video.reader import FrameReader

    reader: FrameReader = context.enter_context(FrameReader(path, timeout_s=timeout_s))
    info = reader.info if reader.info.hdr else None
    if info is not None:
        context.close()
        reader = context.enter_context(FrameReader(path, timeout_s=timeout_s, wide=True))
    for frame in reader:
        levels = _kept(frame.image, streams)
        end = (frame.pts + frame.duration) * reader.info.time_base
        frame.release()
        yield end, _Given(levels, info)


def covering(picture: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Scale a picture (1, 3, h, w) until it covers `size` (H, W), and cut what stands out on both sides alike."""
    import torch.nn.functional as F

    height, width = size
    scale = max(height / picture.shape[2], width / picture.shape[3])
    scaled = (max(height, round(picture.shape[2] * scale)), max(width, round(picture.shape[3] * scale)))
    if scaled != tuple(picture.shape[2:]):
        picture = F.interpolate(picture, size=scaled, mode="bilinear", antialias=True)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return picture[..., top : top + height, left : left + width].clamp(0, 1)


def blurred(frames: torch.Tensor) -> torch.Tensor:
    """Put frames (B, 3, H, W) out of focus: three box means, at a quarter of the size."""
    import torch.nn.functional as F

    from birefnet_batch.matting.foreground import box_mean

    height, width = frames.shape[2:]
    small = (max(1, height // _BLUR_SHRINK), max(1, width // _BLUR_SHRINK))
    made = F.interpolate(frames, size=small, mode="area")
    side = max(1, max(small) // _BLUR_PART)
    for _ in range(_BLUR_PASSES):
        made = box_mean(made, side)
    return F.interpolate(made, size=(height, width), mode="bilinear").clamp(0, 1)


def _kept(image: NDArray[Any], streams: DeviceStreams) -> torch.Tensor:
    import torch

    levels = streams.host_memory((1, *image.shape), torch.from_numpy(image).dtype)
    levels[0] = torch.from_numpy(image)
    return levels


def _read_still(path: Path, timeout_s: float, streams: DeviceStreams) -> _Given:
    """Read a picture upright, transparency over black.

    Raises:
        ConfigError: it cannot be read.
        InputError: likewise, of a high dynamic range.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from birefnet_batch.pictures import open_picture

    try:
        if _is_hdr_png(path):
            with ExitStack() as context:
                return next(_read(context, path, timeout_s, streams))[1]
        with open_picture(path) as file:
            upright = ImageOps.exif_transpose(file).convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright).convert("RGB")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"media.background={path} cannot be read as a picture: {reason}") from None
    return _Given(_kept(np.array(flat), streams), None)


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
