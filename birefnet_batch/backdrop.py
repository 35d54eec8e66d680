"""What stands behind the subject: nothing, a colour, a picture, a video, or the source itself out of focus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from birefnet_batch.errors import ConfigError
from birefnet_batch.uris import user_path

if TYPE_CHECKING:
    import torch

    from birefnet_batch.video.reader import FrameReader

Kind = Literal["none", "colour", "blur", "picture", "video"]
PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
# The blur's box is this part of the longer side; three boxes after each other are nearly a Gaussian.
_BLUR_PART = 24
_BLUR_PASSES = 3
_BLUR_SHRINK = 4


@dataclass(frozen=True)
class Backdrop:
    """What is behind the subject; small and picklable."""

    kind: Kind
    colour: tuple[int, int, int] = (0, 0, 0)
    """RGB, 0 to 255, of kind colour."""
    path: Path | None = None
    """The file, of kinds picture and video."""

    def __str__(self) -> str:
        """In the spelling of `media.background`."""
        if self.kind == "colour":
            return ",".join(map(str, self.colour))
        return self.kind if self.path is None else str(self.path)


def parse_background(text: str) -> Backdrop | None:
    """Read `media.background`.

    Returns:
        None for `auto`.

    Raises:
        ConfigError: it is no colour, no file and none of the words.
    """
    from birefnet_batch.manifest_folder import VIDEO_SUFFIXES

    word = text.strip().lower()
    if word == "auto":
        return None
    if word == "none":
        return Backdrop("none")
    if word == "blur":
        return Backdrop("blur")
    path = user_path(text.strip())
    kinds: dict[Kind, frozenset[str]] = {"picture": PICTURE_SUFFIXES, "video": VIDEO_SUFFIXES}
    for kind, suffixes in kinds.items():
        if path.suffix.lower() in suffixes:
            if not path.is_file():
                raise ConfigError(f"media.background is {text!r}, and there is no such file")
            return Backdrop(kind, path=path)
    return Backdrop("colour", parse_colour(text))


def parse_colour(text: str) -> tuple[int, int, int]:
    """Read a colour: an HTML name, `#rgb`, `#rrggbb` or `r,g,b` with 0 to 255 each.

    Raises:
        ConfigError: it is none of these.
    """
    numbers = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", text)
    if numbers:
        red, green, blue = (int(number) for number in numbers.groups())
        if max(red, green, blue) <= 255:
            return red, green, blue
    else:
        from PIL import ImageColor

        with suppress(ValueError):
            rgb = ImageColor.getrgb(text.strip())
            if len(rgb) == 3:
                return rgb
    raise ConfigError(
        f"media.background is {text!r}; give auto, none, blur, a colour name (black, white, green), '#rrggbb', "
        "'r,g,b' up to 255, or a picture or video file"
    )


class Painter:
    """Gives the backdrop of each frame; a context, for a video is read while it runs.

    Args:
        backdrop: of any kind but none.
        time_base: seconds a tick of the frames' times.
        timeout_s: seconds that decoding one frame of a video may take.
    """

    def __init__(self, backdrop: Backdrop, time_base: Fraction, timeout_s: float) -> None:
        self._backdrop = backdrop
        self._time_base = time_base
        self._timeout_s = timeout_s
        self._context = ExitStack()
        self._still: torch.Tensor | None = None
        self._film: _Film | None = None

    def __enter__(self) -> Self:
        if self._backdrop.kind == "video":
            assert self._backdrop.path is not None
            self._film = self._context.enter_context(_Film(self._backdrop.path, self._timeout_s))
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
            (3,) or (1 or B, 3, H, W) float32 in [0, 1], on the frames' device.

        Raises:
            InputError: a video behind the subject cannot be decoded.
        """
        import torch

        if self._backdrop.kind == "blur":
            return blurred(frames)
        if self._film is not None:
            shown = [self._film.at(at * self._time_base) for at in times]
            return torch.cat([covering(image.to(frames.device), frames.shape[2:]) for image in shown])
        if self._still is None:
            if self._backdrop.kind == "colour":
                still = torch.tensor(self._backdrop.colour, dtype=torch.float32) / 255
            else:
                assert self._backdrop.path is not None
                still = covering(read_picture(self._backdrop.path), frames.shape[2:])
            self._still = still.to(frames.device)
        return self._still


class _Film:
    """A video's frames by time, over and over; times must not go back."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._context = ExitStack()
        self._frames: Iterator[tuple[Fraction, torch.Tensor]] = iter(())
        self._shown: torch.Tensor | None = None
        self._until = Fraction(0)
        self._round = Fraction(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    def at(self, time: Fraction) -> torch.Tensor:
        """The frame (1, 3, h, w) float32 in [0, 1] that is shown at a time in seconds."""
        while self._shown is None or time >= self._until:
            following = next(self._frames, None)
            if following is None:
                self._round = self._until
                self._frames = self._read()
                following = next(self._frames)
            end, self._shown = following
            self._until = self._round + end
        return self._shown

    def _read(self) -> Iterator[tuple[Fraction, torch.Tensor]]:
        import torch

        from birefnet_batch.video.reader import FrameReader

        self._context.close()
        reader: FrameReader = self._context.enter_context(FrameReader(self._path, timeout_s=self._timeout_s))
        for frame in reader:
            picture = torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None].float().div_(255)
            end = (frame.pts + frame.duration) * reader.info.time_base
            frame.release()
            yield end, picture


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


def read_picture(path: Path) -> torch.Tensor:
    """Read a picture as (1, 3, h, w) float32 in [0, 1], upright, transparency over black.

    Raises:
        ConfigError: it cannot be read.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file).convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"media.background={path} cannot be read as a picture: {reason}") from None
    return torch.from_numpy(np.array(flat)).permute(2, 0, 1)[None].float().div_(255)
