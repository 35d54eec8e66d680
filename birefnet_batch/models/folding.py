"""Batch normalisation folded into the convolution before it, wherever its statistics are fixed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.kept import kept


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of the one convolution that equals `norm(convolution(x))` in eval mode.

    The weight has the convolution's shape and dtype, the bias (out_channels,); both are computed in float32.
    """
    return kept(norm, "folded", lambda: _fold(convolution, norm))


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = norm.weight.float() * torch.rsqrt(variance.float() + norm.eps)
    bias = norm.bias.float() - mean.float() * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias.float() * scale
    weight = convolution.weight.float() * scale.view(-1, 1, 1, 1)
    dtype = convolution.weight.dtype
    return weight.to(dtype), bias.to(dtype)


def convolve_normalised(x: Tensor, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return `norm(convolution(x))`, in one pass where the norm is in eval mode."""
    if norm.training:
        normalised: Tensor = norm(convolution(x))
        return normalised
    weight, bias = folded(convolution, norm)
    return F.conv2d(x, weight, bias, padding=convolution.padding)


def bias_of(convolution: nn.Conv2d) -> Tensor:
    """Return the bias of a convolution that has one."""
    assert convolution.bias is not None
    return convolution.bias
