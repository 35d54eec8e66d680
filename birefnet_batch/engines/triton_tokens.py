"""Rows of tokens on a GPU, gathered, added and normalised in one pass each.

Between two products of a Swin block torch passes over all tokens for each of these operations apart. They are bound by
memory: what they take is what they read and write.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

# Values that a program holds: 32 a thread.
_VALUES = 4096


def row_constants(channels: int) -> dict[str, int]:
    """What the kernels are compiled for, by the names of their arguments."""
    block = triton.next_power_of_2(channels)
    return {"channels": channels, "channel_block": block, "row_block": max(1, _VALUES // block)}


# Triton reads the annotations of a kernel, and stops at every name that is not its own: it has no others.
@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _normalised(values, weight, bias, channel, epsilon, channels: tl.constexpr):  # type: ignore[no-untyped-def]
    """Layer normalisation of (rows, channels) float32; what lies beyond the channels is zero."""
    used = channel < channels
    mean = tl.sum(values, 1) / channels
    centred = tl.where(used[None, :], values - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / channels
    factor = tl.load(weight + channel, used, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, used, other=0.0).to(tl.float32)
    return centred * tl.rsqrt(variance + epsilon)[:, None] * factor[None, :] + shift[None, :]


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _gather_kernel(  # type: ignore[no-untyped-def]
    tokens,
    source,
    weight,
    bias,
    output,
    count,
    epsilon,
    channels: tl.constexpr,
    channel_block: tl.constexpr,
    row_block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * row_block + tl.arange(0, row_block)
    channel = tl.arange(0, channel_block)
    real = (row < count)[:, None] & (channel < channels)[None, :]
    place = tl.load(source + row, row < count, other=-1).to(tl.int64)
    inside = (place >= 0)[:, None] & (channel < channels)[None, :]
    values = tl.load(tokens + place[:, None] * channels + channel[None, :], inside, other=0.0).to(tl.float32)
    values = _normalised(values, weight, bias, channel, epsilon, channels)
    # Padding is zero behind the normalisation.
    values = tl.where(inside, values, 0.0)
    tl.store(output + row[:, None] * channels + channel[None, :], values.to(output.dtype.element_ty), real)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _add_kernel(  # type: ignore[no-untyped-def]
    tokens,
    mixed,
    back,
    weight,
    bias,
    ahead,
    total,
    output,
    count,
    epsilon,
    channels: tl.constexpr,
    channel_block: tl.constexpr,
    row_block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * row_block + tl.arange(0, row_block)
    channel = tl.arange(0, channel_block)
    real = (row < count)[:, None] & (channel < channels)[None, :]
    own = row[:, None] * channels + channel[None, :]
    place = tl.load(back + row, row < count, other=0).to(tl.int64)
    values = tl.load(tokens + own, real, other=0.0).to(tl.float32)
    values += tl.load(mixed + place[:, None] * channels + channel[None, :], real, other=0.0).to(tl.float32)
    constant = tl.load(ahead + channel, channel < channels, other=0.0).to(tl.float32)
    tl.store(total + own, (values + constant[None, :]).to(total.dtype.element_ty), real)
    values = _normalised(values, weight, bias, channel, epsilon, channels)
    tl.store(output + own, values.to(output.dtype.element_ty), real)


def gather_normalised(tokens: Tensor, source: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Return the normalised tokens that `source` names, (rows, channels) in the dtype of tokens. Without gradients.

    Args:
        tokens: (count, channels), any float dtype; sums are float32.
        source: (rows,) int32 or int64, the token of each row, or -1 where the row is padding, zero.
        norm: with a weight and a bias.
    """
    tokens = tokens.contiguous()
    rows, channels = len(source), tokens.shape[1]
    output = tokens.new_empty(rows, channels)
    constants = row_constants(channels)
    grid = (triton.cdiv(rows, constants["row_block"]),)
    _gather_kernel[grid](tokens, source, norm.weight, norm.bias, output, rows, norm.eps, **constants)
    return output


def add_normalised(
    tokens: Tensor, mixed: Tensor, back: Tensor, norm: nn.LayerNorm, ahead: Tensor
) -> tuple[Tensor, Tensor]:
    """Return tokens + mixed[back] + ahead and the normalised tokens + mixed[back]. Without gradients.

    Args:
        tokens: (count, channels), any float dtype; sums are float32.
        mixed: (rows, channels), in the dtype of tokens.
        back: (count,) int32 or int64, the row of each token.
        norm: with a weight and a bias.
        ahead: (channels,), what a product that is added later would add to each token: its bias.

    Returns:
        Two of (count, channels) in the dtype of tokens.
    """
    tokens, mixed = tokens.contiguous(), mixed.contiguous()
    count, channels = tokens.shape
    total, output = torch.empty_like(tokens), torch.empty_like(tokens)
    constants = row_constants(channels)
    grid = (triton.cdiv(count, constants["row_block"]),)
    _add_kernel[grid](tokens, mixed, back, norm.weight, norm.bias, ahead, total, output, count, norm.eps, **constants)
    return total, output
