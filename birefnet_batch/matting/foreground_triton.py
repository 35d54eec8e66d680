"""Blur fusion on a GPU in two kernels a pass: means along rows, then means along columns and what follows from them.

Sums are double precision, as in `estimate_by_arrays`, where each operation reads and writes seven planes of doubles.
Here the seven are written once a pass, as floats.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# The colours times alpha, those behind times the rest, and alpha.
_PLANES = 7
_ROW_BLOCK = {"rows": 1, "columns": 1024}
_COLUMN_BLOCK = {"rows": 64, "columns": 128}


# Triton reads the annotations of a kernel, and stops at every name that is not its own: it has no others.
@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _weighed(source, alpha, place, inside, least, slope):  # type: ignore[no-untyped-def]
    """Some values times least + slope * alpha, in double precision; zero outside."""
    factor = least + slope * tl.load(alpha + place, inside, other=0.0)
    return (tl.load(source + place, inside, other=0.0) * factor).to(tl.float64)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _row_kernel(  # type: ignore[no-untyped-def]
    foreground,
    background,
    alpha,
    means,
    height,
    width,
    before: tl.constexpr,
    after: tl.constexpr,
    reach: tl.constexpr,
    steps: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    plane = tl.program_id(1)
    size = tl.full((), height, tl.int64) * width
    least, slope = tl.where(plane < 3, 0.0, 1.0), tl.where(plane < 3, 1.0, tl.where(plane < 6, -1.0, 0.0))
    source = alpha
    if plane < 3:
        source = foreground + plane * size
    elif plane < 6:
        source = background + (plane - 3) * size
    row = (tl.program_id(0) * rows + tl.arange(0, rows))[:, None]
    first, real = row * width, row < height
    # What the box of the column before the first holds. Each column adds what enters it and takes off what leaves it.
    ahead = tl.arange(0, reach)[None, :]
    total = tl.sum(_weighed(source, alpha, first + ahead, real & (ahead < after) & (ahead < width), least, slope), 1)
    for index in range(steps):
        column = (index * columns + tl.arange(0, columns))[None, :]
        enters, leaves = column + after, column - before - 1
        step = _weighed(source, alpha, first + enters, real & (enters < width), least, slope)
        step -= _weighed(source, alpha, first + leaves, real & (leaves >= 0) & (leaves < width), least, slope)
        count = tl.minimum(enters, width - 1) - tl.maximum(leaves, -1)
        sums = (total[:, None] + tl.cumsum(step, 1)).to(tl.float32)
        # Not in double precision, which many cards have little of.
        mean = sums / tl.maximum(count, 1).to(tl.float32)
        tl.store(means + plane * size + first + column, mean, real & (column < width))
        total += tl.sum(step, 1)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _line(plane, y, column, height, width):  # type: ignore[no-untyped-def]
    """A piece of a row, in double precision; zero above and below the picture."""
    # As tensors: of its own numbers triton's interpreter makes masks that it does not take.
    row = column * 0 + y
    inside = (column < width) & (row >= 0) & (row < height)
    return tl.load(plane + row * width + column, inside, other=0.0).to(tl.float64)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _column_kernel(  # type: ignore[no-untyped-def]
    image,
    alpha,
    means,
    foreground,
    background,
    height,
    width,
    epsilon,
    before: tl.constexpr,
    after: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    start = tl.program_id(1) * rows
    size = tl.full((), height, tl.int64) * width
    colour = tl.program_id(2) * size
    own, other, both = means + colour, means + colour + 3 * size, means + 6 * size
    # What the box of the row above the first holds, as along a row.
    blurred = tl.zeros((columns,), dtype=tl.float64)
    behind, matte = blurred, blurred
    for index in range(before + 1 + after):
        y = start - 1 - before + index
        blurred += _line(own, y, column, height, width)
        behind += _line(other, y, column, height, width)
        matte += _line(both, y, column, height, width)
    for index in range(rows):
        y = start + index
        enters, leaves = y + after, y - before - 1
        blurred += _line(own, enters, column, height, width) - _line(own, leaves, column, height, width)
        behind += _line(other, enters, column, height, width) - _line(other, leaves, column, height, width)
        matte += _line(both, enters, column, height, width) - _line(both, leaves, column, height, width)
        count = tl.maximum(tl.minimum(enters, height - 1) - tl.maximum(leaves, -1), 1).to(tl.float32)
        mean_alpha = matte.to(tl.float32) / count
        fused = blurred.to(tl.float32) / count / (mean_alpha + epsilon)
        rest = behind.to(tl.float32) / count / (1.0 + epsilon - mean_alpha)
        place, inside = column + y * width, (column < width) & (column * 0 + y < height)
        share = tl.load(alpha + place, inside, other=0.0)
        missing = tl.load(image + colour + place, inside, other=0.0) - share * fused - (1.0 - share) * rest
        fused = tl.clamp(fused + share * missing, 0.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
        tl.store(foreground + colour + place, fused, inside)
        tl.store(background + colour + place, rest, inside)


def fuse_on_gpu(image: Tensor, alpha: Tensor, sides: tuple[int, ...], epsilon: float) -> Tensor:
    """Do what `estimate_by_arrays` does with float32.

    Args:
        image: (B, 3, H, W) in [0, 1].
        alpha: (B, 1, H, W) in [0, 1].
        sides: of the box of each pass, pixels.
        epsilon: that of the formula.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    image, alpha = image.contiguous(), alpha.contiguous()
    height, width = image.shape[2:]
    made, background = torch.empty_like(image), torch.empty_like(image[0])
    means = image.new_empty(_PLANES, height, width)
    for picture, matte, result in zip(image, alpha, made, strict=True):
        foreground, behind = picture, picture
        for side in sides:
            reach = {"before": side // 2, "after": side - 1 - side // 2}
            _row_kernel[(triton.cdiv(height, _ROW_BLOCK["rows"]), _PLANES)](
                *(foreground, behind, matte, means, height, width),
                **reach,
                reach=triton.next_power_of_2(max(1, reach["after"])),
                steps=triton.cdiv(width, _ROW_BLOCK["columns"]),
                **_ROW_BLOCK,
            )
            grid = (triton.cdiv(width, _COLUMN_BLOCK["columns"]), triton.cdiv(height, _COLUMN_BLOCK["rows"]), 3)
            _column_kernel[grid](
                *(picture, matte, means, result, background, height, width, epsilon), **reach, **_COLUMN_BLOCK
            )
            foreground, behind = result, background
    return made
