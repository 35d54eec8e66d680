"""Modulated deformable convolution (Zhu et al., CVPR 2019, arXiv 1811.11168) in plain torch operations.

Networks use `deformable_convolution`: `table_convolution`, which is fast, where no gradients are asked for, and
`grid_sample_convolution`, the plain form that tests and benchmarks compare with, where they are. All have one
signature, `DeformableOperator`, and so has the kernel for GPUs that may take their place (`set_operator`); another one
projects what it computes before it is written (`ProjectedOperator`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.folding import bias_of
from birefnet_batch.models.kept import kept

# Bounds what is sampled at once to about 16 MiB of float32 on a CPU, near its caches, and 512 MiB on a GPU.
CPU_CHUNK_ELEMENTS = 1 << 22
GPU_CHUNK_ELEMENTS = 1 << 27


class DeformableOperator(Protocol):
    """Sum, over the taps of a kernel, modulated bilinear samples at displaced positions.

    The convolution has stride 1 and padding k//2, so the output keeps the input's height and width.

    Args:
        x: (B, C, H, W), any float dtype; zero outside.
        offset: (B, 2*k², H, W) in pixels of x, ordered (y, x) per tap.
        modulation: (B, k², H, W), the factor of each sample.
        weight: (O, C, k, k), k odd.
        bias: (O,).

    Returns:
        (B, O, H, W) in the dtype of x.
    """

    def __call__(
        self, x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor: ...


class ProjectedOperator(Protocol):
    """Add, to the pixels of a total, the product by a matrix of what `DeformableOperator` gives, negatives as zero.

    Args:
        total: (B*H*W, P), changed.
        x: as there, and the offset and the modulation too.
        rows: (k²*C, O), the weight as `weight_rows` gives it, transposed; contiguous.
        bias: (O,).
        head: (P, O), contiguous.
    """

    def __call__(
        self, total: Tensor, x: Tensor, offset: Tensor, modulation: Tensor, rows: Tensor, bias: Tensor, head: Tensor
    ) -> None: ...


def deformable_convolution(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Implement `DeformableOperator`, with gradients where they are asked for and fast where they are not."""
    inputs = (x, offset, modulation, weight, *(() if bias is None else (bias,)))
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return grid_sample_convolution(x, offset, modulation, weight, bias)
    return table_convolution(x, offset, modulation, weight, bias)


def table_convolution(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Implement `DeformableOperator` as rows of samples, some pixels at a time, times a matrix. Without gradients."""
    batch, _, height, width = x.shape
    matrix = weight_rows(weight).T
    output = x.new_empty(batch * height * width, weight.shape[0])
    for pixels, samples in sample_rows(x, offset, modulation, weight.shape[-1]):
        if bias is None:
            torch.mm(samples, matrix, out=output[pixels])
        else:
            torch.addmm(bias, samples, matrix, out=output[pixels])
    return output.view(batch, height, width, -1).permute(0, 3, 1, 2)


def weight_rows(weight: Tensor) -> Tensor:
    """Return a kernel (O, C, k, k) as the (O, k²*C) that multiplies rows of samples."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def sample_rows(x: Tensor, offset: Tensor, modulation: Tensor, kernel: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the modulated samples of some pixels at a time, which bounds the memory.

    Each is a weighted sum of four rows of a pixel table: `embedding_bag` reads whole pixels (all channels of one are
    contiguous) and writes the rows of the matrix product, so that samples are neither transposed nor multiplied
    again. Positions are float32 whatever the dtype of x. Without gradients.

    Args:
        x: (B, C, H, W).
        offset: (B, 2*k², H, W) in pixels of x, ordered (y, x) per tap.
        modulation: (B, k², H, W).
        kernel: k, odd.

    Yields:
        Which of the B*H*W pixels, and (pixels, k²*C) in the dtype of x.
    """
    batch, channels, height, width = x.shape
    taps = kernel**2
    device = x.device
    # One zero pixel before and two after: every position, once clamped to [-1, side], has its four
    # neighbours in the table, and those outside the image count nothing.
    stride, table_rows = width + 3, height + 3
    last = height * stride + width
    table = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 2, 1, 2)).reshape(-1, channels)
    offset = offset.permute(0, 2, 3, 1).reshape(batch * height, width, taps, 2)
    modulation = modulation.permute(0, 2, 3, 1).reshape(batch * height, width, taps)
    centre_y, centre_x = _centres(height, width, kernel, device)
    centre_y = centre_y.repeat(batch, 1, 1)
    # The row of the table that holds pixel (0, 0), per row of the images.
    origin = torch.arange(batch, dtype=torch.int32, device=device) * (table_rows * stride) + stride + 1
    origin = origin.repeat_interleave(height).view(-1, 1, 1)

    budget = CPU_CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS
    rows = max(1, budget // (width * taps * channels))
    for first in range(0, batch * height, rows):
        chunk = slice(first, first + rows)
        down = (offset[chunk, ..., 0].float() + centre_y[chunk]).clamp_(-1, height)
        along = (offset[chunk, ..., 1].float() + centre_x).clamp_(-1, width)
        top, left = down.floor(), along.floor()
        down -= top
        along -= left
        # The bounds matter to a position that is no number: its sample becomes none too, without a read outside.
        corner = top.mul_(stride).add_(left).to(torch.int32).clamp_(-stride - 1, last).add_(origin[chunk])
        index = torch.empty((*corner.shape, 4), dtype=torch.int32, device=device)
        factors = torch.empty((*corner.shape, 4), dtype=torch.float32, device=device)
        for neighbour, distance in enumerate((0, 1, stride, stride + 1)):
            torch.add(corner, distance, out=index[..., neighbour])
        lower = down.mul_(modulation[chunk])
        upper = modulation[chunk] - lower
        torch.mul(upper, along, out=factors[..., 1])
        torch.sub(upper, factors[..., 1], out=factors[..., 0])
        torch.mul(lower, along, out=factors[..., 3])
        torch.sub(lower, factors[..., 3], out=factors[..., 2])
        samples = F.embedding_bag(
            index.view(-1, 4), table, mode="sum", per_sample_weights=factors.view(-1, 4).to(x.dtype)
        )
        yield slice(first * width, first * width + corner.shape[0] * width), samples.view(-1, taps * channels)


def grid_sample_convolution(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Implement `DeformableOperator` with `grid_sample`, which has gradients.

    The grid and the sampling are float32 whatever the dtype of x: positions in float16 are off by pixels.
    """
    batch, channels, height, width = x.shape
    out_channels, _, kernel, _ = weight.shape
    taps = kernel**2
    centre_y, centre_x = _centres(height, width, kernel, x.device)
    offset = offset.float().reshape(batch, taps, 2, height, width)
    grid = torch.stack(
        (offset[:, :, 1] + centre_x.permute(2, 0, 1), offset[:, :, 0] + centre_y.permute(2, 0, 1)), dim=-1
    )
    # Not from the host's numbers: a CUDA graph may not hold such a copy, and training would wait for it.
    size = torch.cat([x.new_full((1,), side, dtype=torch.float32) for side in (width, height)])
    grid = ((2 * grid + 1) / size - 1).view(batch, taps, height * width, 2)
    samples = F.grid_sample(x.float(), grid, padding_mode="zeros", align_corners=False)
    samples = samples * modulation.float().reshape(batch, 1, taps, height * width)
    output = weight.flatten(1) @ samples.view(batch, channels * taps, height * width).to(x.dtype)
    output = output.view(batch, out_channels, height, width)
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def _centres(height: int, width: int, kernel: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where each tap looks without an offset, float32: y as (H, 1, k²) and x as (1, W, k²)."""
    reach = torch.arange(kernel, dtype=torch.float32, device=device) - kernel // 2
    rows = torch.arange(height, dtype=torch.float32, device=device).view(-1, 1, 1)
    columns = torch.arange(width, dtype=torch.float32, device=device).view(1, -1, 1)
    return rows + reach.repeat_interleave(kernel), columns + reach.repeat(kernel)


class DeformableConv2d(nn.Module):
    """A convolution that learns where each of its taps looks and how much each counts.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square, odd kernel; the output keeps the input's height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        # Replaceable by kernels for GPUs: see `set_operator`.
        self.operator: DeformableOperator = deformable_convolution
        self.projector: ProjectedOperator | None = None
        taps, padding = kernel**2, kernel // 2
        self.offset_conv = nn.Conv2d(in_channels, 2 * taps, kernel, padding=padding)
        self.modulator_conv = nn.Conv2d(in_channels, taps, kernel, padding=padding)
        self.regular_conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False)
        for convolution in (self.offset_conv, self.modulator_conv):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(bias_of(convolution))

    def forward(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W), with a weight in place of its own if given."""
        weight = self.regular_conv.weight if weight is None else weight
        return self.operator(x, *self.plan(x), weight, bias)

    def plan(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offset and the modulation at each pixel of x."""
        # They come from one convolution: it reads and rearranges the input once.
        planned = F.conv2d(x, *kept(self, "plan", self._join), padding=self.kernel // 2)
        taps = self.kernel**2
        return planned[:, : 2 * taps], 2 * torch.sigmoid(planned[:, 2 * taps : 3 * taps])

    def _join(self) -> tuple[Tensor, Tensor]:
        both = (self.offset_conv, self.modulator_conv)
        weight, bias = torch.cat([one.weight for one in both]), torch.cat([bias_of(one) for one in both])
        # Tensor cores take eight outputs at a time; others cost slower kernels there.
        missing = 0 if weight.device.type == "cpu" else -len(weight) % 8
        return F.pad(weight, (0, 0, 0, 0, 0, 0, 0, missing)), F.pad(bias, (0, missing))


def set_operator(network: nn.Module, operator: DeformableOperator, projector: ProjectedOperator | None = None) -> None:
    """Let every deformable convolution inside `network` compute with `operator`, what is projected with `projector`."""
    for module in network.modules():
        if isinstance(module, DeformableConv2d):
            module.operator = operator
            module.projector = projector
