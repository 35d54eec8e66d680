"""Modulated deformable convolution on a GPU as one kernel: samples are made where they are multiplied, never stored.

The plain form (`models.deformable`) writes a row of samples per pixel, up to 49 times the input. Here a program takes
some pixels, and for each tap samples their channels into registers and adds their product with the tap's weights.
In half precision it has all outputs of its pixels, so that it can project them before it writes.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

# The least side of a product that tensor cores take.
_LEAST = 16
_PIXELS = 64
# Of half precision: all of them, or every program with some would take the same samples anew.
_OUTPUTS = 256


def kernel_constants(channels: int, outputs: int, kernel: int, dtype: torch.dtype) -> dict[str, int]:
    """What the kernels are compiled for, by the names of their arguments."""
    # Twice as wide numbers take twice the room.
    most = _OUTPUTS // 2 if dtype == torch.float32 else _OUTPUTS
    return {
        "outputs": outputs,
        "channels": channels,
        "kernel": kernel,
        "pixel_block": _PIXELS,
        "output_block": min(most, max(_LEAST, triton.next_power_of_2(outputs))),
        "channel_block": max(_LEAST, triton.next_power_of_2(channels)),
    }


def launch_options(constants: dict[str, int], dtype: torch.dtype) -> dict[str, int]:
    """Triton's own would take more shared memory than an RTX card has, and spill registers.

    Args:
        constants: of the launch.
        dtype: of its maps.
    """
    if dtype == torch.float32:
        return {"num_warps": 8, "num_stages": 1}
    # More threads have fewer registers each: 16 warps use all that a multiprocessor has. With a single tap triton lays
    # two products in a row out for fewer.
    most = 8 if constants["kernel"] == 1 else 16
    return {"num_warps": min(most, max(4, constants["output_block"] // 16)), "num_stages": 2}


# Triton reads the annotations of a kernel, and stops at every name that is not its own: it has no others.
@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _sample(  # type: ignore[no-untyped-def]
    image,
    batch,
    row,
    column,
    channel,
    share,
    height,
    width,
    channels: tl.constexpr,
):
    """One of the four neighbours of each position, times its share: (pixels, channels) float32; zero outside."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = ((batch * height + row) * width + column) * channels
    value = tl.load(
        image + place[:, None] + channel[None, :], inside[:, None] & (channel < channels)[None, :], other=0.0
    )
    return value.to(tl.float32) * share[:, None]


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _convolved(  # type: ignore[no-untyped-def]
    image,
    offset,
    modulation,
    weight,
    bias,
    pixel,
    out,
    count,
    height,
    width,
    outputs: tl.constexpr,
    channels: tl.constexpr,
    kernel: tl.constexpr,
    pixel_block: tl.constexpr,
    output_block: tl.constexpr,
    channel_block: tl.constexpr,
):
    """Some outputs of some pixels, (pixels, outputs) float32."""
    real = pixel < count
    plane = height * width
    # Indices into a large batch need more than 32 bits: all of them are reckoned from this one.
    batch, place = (pixel // plane).to(tl.int64), pixel % plane
    row, column = place // width, place % width
    channel = tl.arange(0, channel_block)
    taps: tl.constexpr = kernel * kernel
    total = tl.zeros((pixel_block, output_block), dtype=tl.float32)
    for tap in range(taps):
        shift = (batch * 2 * taps + 2 * tap) * plane + place
        down = tl.load(offset + shift, real, other=0.0).to(tl.float32) + (row + tap // kernel - kernel // 2)
        along = tl.load(offset + shift + plane, real, other=0.0).to(tl.float32) + (column + tap % kernel - kernel // 2)
        factor = tl.load(modulation + (batch * taps + tap) * plane + place, real, other=0.0).to(tl.float32)
        # Beyond one pixel outside nothing counts; without bounds an integer of the position might overflow.
        down = tl.clamp(down, -1.0, height * 1.0, propagate_nan=tl.PropagateNan.ALL)
        along = tl.clamp(along, -1.0, width * 1.0, propagate_nan=tl.PropagateNan.ALL)
        top, left = tl.floor(down), tl.floor(along)
        lower, right = down - top, along - left
        y, x = top.to(tl.int32), left.to(tl.int32)
        samples = _sample(image, batch, y, x, channel, (1 - lower) * (1 - right) * factor, height, width, channels)
        samples += _sample(image, batch, y, x + 1, channel, (1 - lower) * right * factor, height, width, channels)
        samples += _sample(image, batch, y + 1, x, channel, lower * (1 - right) * factor, height, width, channels)
        samples += _sample(image, batch, y + 1, x + 1, channel, lower * right * factor, height, width, channels)
        rows = weight + (tap * channels + channel)[:, None] * outputs + out[None, :]
        matrix = tl.load(rows, (channel < channels)[:, None] & (out < outputs)[None, :], other=0.0)
        total += tl.dot(samples.to(matrix.dtype), matrix, input_precision="ieee")
    return total + tl.load(bias + out, out < outputs, other=0.0).to(tl.float32)[None, :]


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _kernel(  # type: ignore[no-untyped-def]
    image,
    offset,
    modulation,
    weight,
    bias,
    output,
    count,
    height,
    width,
    outputs: tl.constexpr,
    channels: tl.constexpr,
    kernel: tl.constexpr,
    pixel_block: tl.constexpr,
    output_block: tl.constexpr,
    channel_block: tl.constexpr,
):
    pixel = tl.program_id(0) * pixel_block + tl.arange(0, pixel_block)
    out = tl.program_id(1) * output_block + tl.arange(0, output_block)
    total = _convolved(
        image,
        offset,
        modulation,
        weight,
        bias,
        pixel,
        out,
        count,
        height,
        width,
        outputs,
        channels,
        kernel,
        pixel_block,
        output_block,
        channel_block,
    )
    place = output + pixel.to(tl.int64)[:, None] * outputs + out[None, :]
    tl.store(place, total.to(output.dtype.element_ty), (pixel < count)[:, None] & (out < outputs)[None, :])


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _projecting_kernel(  # type: ignore[no-untyped-def]
    image,
    offset,
    modulation,
    weight,
    bias,
    head,
    total,
    count,
    height,
    width,
    outputs: tl.constexpr,
    channels: tl.constexpr,
    kernel: tl.constexpr,
    projected: tl.constexpr,
    pixel_block: tl.constexpr,
    output_block: tl.constexpr,
    channel_block: tl.constexpr,
    projected_block: tl.constexpr,
):
    pixel = tl.program_id(0) * pixel_block + tl.arange(0, pixel_block)
    out = tl.arange(0, output_block)
    values = _convolved(
        image,
        offset,
        modulation,
        weight,
        bias,
        pixel,
        out,
        count,
        height,
        width,
        outputs,
        channels,
        kernel,
        pixel_block,
        output_block,
        channel_block,
    )
    values = tl.maximum(values, 0.0, propagate_nan=tl.PropagateNan.ALL)
    last = tl.arange(0, projected_block)
    matrix = tl.load(
        head + last[None, :] * outputs + out[:, None], (out < outputs)[:, None] & (last < projected)[None, :], other=0.0
    )
    values = tl.dot(values.to(matrix.dtype), matrix, input_precision="ieee")
    place = total + pixel.to(tl.int64)[:, None] * projected + last[None, :]
    real = (pixel < count)[:, None] & (last < projected)[None, :]
    values += tl.load(place, real, other=0.0).to(tl.float32)
    tl.store(place, values.to(total.dtype.element_ty), real)


def triton_convolution(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Implement `DeformableOperator`; positions and sums are float32 whatever the dtype of x. Without gradients."""
    batch, _, height, width = x.shape
    outputs, channels, kernel, _ = weight.shape
    output = torch.empty((batch, height, width, outputs), dtype=x.dtype, device=x.device)
    count = batch * height * width
    constants = kernel_constants(channels, outputs, kernel, x.dtype)
    grid = (triton.cdiv(count, _PIXELS), triton.cdiv(outputs, constants["output_block"]))
    if bias is None:
        bias = torch.zeros(outputs, dtype=x.dtype, device=x.device)
    rows = weight.permute(2, 3, 1, 0).contiguous()
    _kernel[grid](
        *(_pixels(x), offset.contiguous(), modulation.contiguous(), rows, bias, output, count, height, width),
        **constants,
        **launch_options(constants, x.dtype),
    )
    return output.permute(0, 3, 1, 2)


def triton_projection(
    total: Tensor, x: Tensor, offset: Tensor, modulation: Tensor, rows: Tensor, bias: Tensor, head: Tensor
) -> None:
    """Implement `ProjectedOperator`, in half precision without the map in between. Without gradients."""
    batch, channels, height, width = x.shape
    outputs, kernel = rows.shape[1], math.isqrt(modulation.shape[1])
    if x.dtype == torch.float32 or outputs > _OUTPUTS:
        weight = rows.view(kernel, kernel, channels, outputs).permute(3, 2, 0, 1)
        between = triton_convolution(x, offset, modulation, weight, bias).permute(0, 2, 3, 1)
        total.addmm_(between.reshape(-1, outputs).relu_(), head.T)
        return
    count = batch * height * width
    constants = {
        **kernel_constants(channels, outputs, kernel, x.dtype),
        "projected": len(head),
        "projected_block": max(_LEAST, triton.next_power_of_2(len(head))),
    }
    _projecting_kernel[(triton.cdiv(count, _PIXELS),)](
        *(_pixels(x), offset.contiguous(), modulation.contiguous(), rows, bias, head, total, count, height, width),
        **constants,
        **launch_options(constants, x.dtype),
    )


def _pixels(x: Tensor) -> Tensor:
    """All channels of a pixel side by side."""
    return x.permute(0, 2, 3, 1).contiguous()
