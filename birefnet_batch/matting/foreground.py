"""The foreground's own colours: blur fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021).

With image I, matte a and a box mean of side r:

    F_b = mean(F*a) / (mean(a) + e)        B_b = mean(B*(1-a)) / (1 - mean(a) + e)
    F = clip(F_b + a*(I - a*F_b - (1-a)*B_b), 0, 1)

first with r = 90 and F = B = I, then with r = 6, the first pass's F and its B_b.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from birefnet_batch.engines.plain_operations import go_without
from birefnet_batch.process_tuning import usable_processors

SIDES = (90, 6)
_EPSILON = 1e-5


def estimate_foreground(image: Tensor, alpha: Tensor, threads: int | None = None, *, in_place: bool = False) -> Tensor:
    """Estimate the colours that the subject has by itself, without the background's share at soft edges.

    Args:
        image: (B, 3, H, W) float in [0, 1].
        alpha: (B, 1, H, W) float in [0, 1], of the same size, dtype and device.
        threads: on a CPU, how many to work with; None is every processor. The result does not depend on it.
        in_place: the image is not wanted any more: on a CPU the result takes its place.

    Returns:
        (B, 3, H, W) in [0, 1]; where alpha is 0 its colours are those of the nearest subject. float32 is compiled code
        (some seconds at its first use on a machine).

    Raises:
        ValueError: the shapes do not fit.
    """
    if image.ndim != 4 or image.shape[1] != 3 or alpha.shape != (image.shape[0], 1, *image.shape[2:]):
        raise ValueError(
            f"estimate_foreground was given an image of shape {tuple(image.shape)} and an alpha of shape "
            f"{tuple(alpha.shape)}; it takes (B, 3, H, W) and (B, 1, H, W)"
        )
    if image.dtype == alpha.dtype == torch.float32:
        if image.device.type == "cpu":
            return _on_cpu(image, alpha, threads or usable_processors(), in_place)
        if image.device.type == "cuda" and _has_kernels(image.device):
            return _on_gpu(image, alpha)
    return estimate_by_arrays(image, alpha)


def estimate_by_arrays(image: Tensor, alpha: Tensor) -> Tensor:
    """Do what `estimate_foreground` does, in torch operations on any device."""
    # One by one, for the sums take many times a picture's memory.
    return torch.cat([_estimate(*pair) for pair in zip(image.unsqueeze(1), alpha.unsqueeze(1), strict=True)])


def _estimate(image: Tensor, alpha: Tensor) -> Tensor:
    foreground, background = image, image
    for side in SIDES:
        foreground, background = _pass(image, foreground, background, alpha, side)
    return foreground


def _on_cpu(image: Tensor, alpha: Tensor, threads: int, in_place: bool) -> Tensor:
    from birefnet_batch.matting.foreground_cpu import fuse

    image = image.contiguous()
    # The last pass reads a pixel of the image only where it writes one.
    made = image if in_place else torch.empty(image.shape, dtype=torch.float32)
    for picture, matte, result in zip(
        image.detach().numpy(), alpha.contiguous().detach().numpy(), made.numpy(), strict=True
    ):
        foreground = background = picture
        for side in SIDES[:-1]:
            foreground, background = fuse(picture, foreground, background, matte[0], side, threads)
        fuse(picture, foreground, background, matte[0], SIDES[-1], threads, result)
    return made


@cache
def _has_kernels(device: torch.device) -> bool:
    """Whether triton's kernels can be made for a GPU and compute there what the plain operations do."""
    generator = torch.Generator().manual_seed(0)
    try:
        # Triton compiles sides that are multiples of 16 apart; and rows of more than one program's columns.
        for height, width in ((72, 1040), (70, 150)):
            sizes = ((1, depth, height, width) for depth in (3, 1))
            image, alpha = (torch.rand(size, generator=generator).to(device) for size in sizes)
            # A comparison with what is no number is false.
            if not (_on_gpu(image, alpha) - estimate_by_arrays(image, alpha)).abs().max() <= 1e-4:
                raise RuntimeError("what it computes is wrong")
    except Exception as error:
        go_without("foreground colours", error)
        return False
    return True


def _on_gpu(image: Tensor, alpha: Tensor) -> Tensor:
    from birefnet_batch.matting.foreground_triton import fuse_on_gpu

    return fuse_on_gpu(image, alpha, SIDES, _EPSILON)


def _pass(image: Tensor, foreground: Tensor, background: Tensor, alpha: Tensor, side: int) -> tuple[Tensor, Tensor]:
    rest = 1 - alpha
    # In double precision, or what rounding leaves of a sum that should be nothing would become a colour.
    mean = box_mean(torch.cat((foreground * alpha, background * rest, alpha), dim=1), side, torch.float64)
    mean_alpha = mean[:, 6:]
    blurred_foreground = mean[:, :3].div_(mean_alpha + _EPSILON)
    blurred_background = mean[:, 3:6].div_(1 + _EPSILON - mean_alpha)
    missing = image - alpha * blurred_foreground
    missing.addcmul_(rest, blurred_background, value=-1)
    return torch.addcmul(blurred_foreground, alpha, missing).clamp_(0, 1), blurred_background


def box_mean(planes: Tensor, side: int, sums_in: torch.dtype | None = None) -> Tensor:
    """The mean over a box around each pixel, of what of the box is inside the image.

    The box reaches from side//2 pixels before to side - 1 - side//2 after. Its sums are differences of running
    sums, so their cost does not grow with the side.

    Args:
        planes: (B, C, H, W) float.
        side: pixels.
        sums_in: what sums are kept in; None is the planes' own.
    """
    for dim in (3, 2):
        length = planes.shape[dim]
        # Boxes that end at the border all have the last sum; those that begin there have nothing to take off.
        ahead = min(side - 1 - side // 2, length - 1)
        behind = min(side // 2 + 1, length)
        running = torch.cumsum(planes, dim=dim, dtype=sums_in)
        sums = torch.empty_like(running)
        sums.narrow(dim, 0, length - ahead).copy_(running.narrow(dim, ahead, length - ahead))
        sums.narrow(dim, length - ahead, ahead).copy_(running.narrow(dim, length - 1, 1))
        sums.narrow(dim, behind, length - behind).sub_(running.narrow(dim, 0, length - behind))
        place = torch.arange(length, device=planes.device)
        count = (place + ahead).clamp_(max=length - 1) - (place - behind).clamp_(min=-1)
        shape = [1, 1, 1, 1]
        shape[dim] = length
        planes = sums.div_(count.view(shape)).to(planes.dtype)
    return planes
