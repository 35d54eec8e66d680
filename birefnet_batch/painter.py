"""What stands behind the subject in each frame, in the size and the colours of the video that it becomes part of."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.backdrop_files import Film, Given, Limits, read_still
from birefnet_batch.video.child import MEMORY_BYTES
from birefnet_batch.video.info import BT709, BT2020, HLG, PQ

if TYPE_CHECKING:
    import torch

    from birefnet_batch.device_streams import DeviceStreams

# The blur's box is this part of the longer side; three boxes after each other are nearly a Gaussian.
_BLUR_PART = 24
_BLUR_PASSES = 3
_BLUR_SHRINK = 4
_MOST_WIDER = 4


class Painter:
    """Gives the backdrop of each frame; a context, for a video is read while it runs.

    Args:
        backdrop: of any kind but none.
        streams: of the frames' device.
        time_base: seconds a tick of the frames' times.
        timeout_s: seconds that decoding one frame of a video may take.
        transfer: the transfer function that the made video is to have, by its number in ITU-T H.273.
        primaries: its primaries, likewise.
        memory_bytes: what decoding a video may allocate.
        pixel_shape: width of the frames' pixels over their height; None is square.
    """

    def __init__(
        self,
        backdrop: Backdrop,
        streams: DeviceStreams,
        time_base: Fraction,
        timeout_s: float,
        transfer: int = BT709,
        primaries: int = BT709,
        memory_bytes: int = MEMORY_BYTES,
        pixel_shape: Fraction | None = None,
    ) -> None:
        self._backdrop = backdrop
        self._streams = streams
        self._time_base = time_base
        self._limits = Limits(timeout_s, memory_bytes)
        self._transfer, self._primaries = transfer, primaries
        self._pixel_shape = pixel_shape or Fraction(1)
        self._context = ExitStack()
        self._given: Given | None = None
        self._made: torch.Tensor | None = None
        self._film: Film | None = None

    def __enter__(self) -> Self:
        if self._backdrop.kind == "video":
            assert self._backdrop.path is not None
            self._film = self._context.enter_context(Film(self._backdrop.path, self._limits, self._streams))
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
                self._made = self._laid(read_still(self._backdrop.path, self._limits, self._streams), frames)
        return self._made

    def _of_film(self, given: Given, frames: torch.Tensor) -> torch.Tensor:
        if self._made is None or given is not self._given:
            self._given, self._made = given, self._laid(given, frames)
        return self._made

    def _laid(self, given: Given, frames: torch.Tensor) -> torch.Tensor:
        """A picture over the whole frame, (1, 3, H, W), as the made video codes it."""
        from birefnet_batch.matting.tone import between

        levels, info, size = self._streams.upload(given.levels), given.info, frames.shape[2:]
        self._streams.take(self._streams.uploaded(), [levels])
        wider = float((given.pixel_shape or 1) / self._pixel_shape)
        if info is None:
            return self._from_sdr(covering(levels.permute(0, 3, 1, 2).float().div_(255), size, wider))
        light = between(levels, info.transfer, info.primaries, info.peak, self._transfer, self._primaries)
        return covering(light, size, wider)

    def _from_sdr(self, picture: torch.Tensor) -> torch.Tensor:
        from birefnet_batch.matting.tone import from_sdr

        if self._transfer not in (HLG, PQ) and self._primaries != BT2020:
            return picture
        return from_sdr(picture, self._transfer, self._primaries)


def covering(picture: torch.Tensor, size: torch.Size, wider: float = 1.0) -> torch.Tensor:
    """Scale a picture until it covers a frame, and cut what stands out on both sides alike.

    Args:
        picture: (1, 3, h, w) float.
        size: the frame's (H, W).
        wider: how many times as wide as the frame's the picture's pixels are; taken for 1/4 at least and 4 at most.

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    import torch.nn.functional as F

    height, width = size
    # A file may claim any shape of its pixels, and what is to be cut off takes memory first.
    across = picture.shape[3] * min(max(wider, 1 / _MOST_WIDER), _MOST_WIDER)
    scale = max(height / picture.shape[2], width / across)
    scaled = [max(height, round(picture.shape[2] * scale)), max(width, round(across * scale))]
    for place, wanted in enumerate(size):
        # What is to be cut off a narrow picture, enlarged, would be many times as large as the frame.
        if wanted < scaled[place] and picture.shape[2 + place] < scaled[place]:
            picture = _middle(picture, 2 + place, scaled[place], wanted)
            scaled[place] = wanted
    if scaled != list(picture.shape[2:]):
        picture = F.interpolate(picture, size=scaled, mode="bilinear", antialias=True)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return picture[..., top : top + height, left : left + width].clamp(0, 1)


def _middle(picture: torch.Tensor, dimension: int, whole: int, wanted: int) -> torch.Tensor:
    """The middle of what bilinear scaling of a side up to `whole` makes, without the rest."""
    import torch

    side = picture.shape[dimension]
    first = (whole - wanted) // 2
    places = torch.arange(first, first + wanted, dtype=torch.float64, device=picture.device)
    at = ((places + 0.5) * (side / whole) - 0.5).clamp(0, side - 1)
    before = at.floor().long()
    weight = (at - before).to(picture.dtype).view([-1 if other == dimension else 1 for other in range(picture.dim())])
    return torch.lerp(
        picture.index_select(dimension, before),
        picture.index_select(dimension, (before + 1).clamp(max=side - 1)),
        weight,
    )


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
