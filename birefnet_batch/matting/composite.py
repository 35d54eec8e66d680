"""The subject over a background, or cut out with its alpha."""

from __future__ import annotations

from torch import Tensor

_LEAST_VISIBLE = 0.5 / 255
_LEAST_ALPHA = 1 / 255
_BLOCK = 16  # pixels: a macroblock


def lifted(frames: Tensor, alpha: Tensor) -> Tensor:
    """Return the colours that were laid over black.

    Args:
        frames: float in [0, 1], as they are over black.
        alpha: float in [0, 1], which broadcasts to them; taken for 1/255 at least.

    Returns:
        Float in [0, 1], of the frames' shape.
    """
    return (frames / alpha.clamp_min(_LEAST_ALPHA)).clamp_(0, 1)


def composite(foreground: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Lay a foreground over a background: F*a + B*(1-a).

    Args:
        foreground: (B, 3, H, W) float in [0, 1], not premultiplied.
        alpha: (B, 1, H, W) float in [0, 1].
        background: (3,) or (B, 3, H, W) float in [0, 1].

    Returns:
        (B, 3, H, W) float in [0, 1].
    """
    if background.ndim == 1:
        background = background.view(1, -1, 1, 1)
    # In place: a picture of floats is larger than a processor's cache.
    return (foreground - background).mul_(alpha).add_(background)


def cut_out(foreground: Tensor, alpha: Tensor, *, premultiplied: bool) -> Tensor:
    """Put the matte beside the colours.

    Straight colours reach 16 to 32 pixels beyond the subject, where a codec's coarser chroma and its ringing would show
    at the edge, and are black from there on, where nobody sees them and bytes would be spent for nothing.

    Args:
        foreground: (B, 3, H, W) float in [0, 1], not premultiplied.
        alpha: (B, 1, H, W) float in [0, 1].
        premultiplied: multiply colours by alpha.

    Returns:
        (B, 4, H, W) float in [0, 1], RGBA.
    """
    import torch
    import torch.nn.functional as F

    if premultiplied:
        shown = alpha
    else:
        # Whole blocks: those that hold a visible pixel, and their neighbours.
        visible = (F.max_pool2d(alpha, _BLOCK, _BLOCK, ceil_mode=True) >= _LEAST_VISIBLE).to(alpha.dtype)
        near = F.max_pool2d(visible, 3, stride=1, padding=1)
        shown = near.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)[..., : alpha.shape[2], : alpha.shape[3]]
    made = foreground.new_empty((foreground.shape[0], 4, *foreground.shape[2:]))
    torch.mul(foreground, shown, out=made[:, :3])
    made[:, 3:] = alpha
    return made
