"""Deformable convolution: both implementations compute the definition, at any position."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from host_numbers import HostNumbers
from torch import Tensor

from birefnet_batch.models.deformable import (
    DeformableConv2d,
    deformable_convolution,
    grid_sample_convolution,
    set_operator,
    table_convolution,
)

OPERATORS = [table_convolution, grid_sample_convolution]


def by_definition(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor) -> Tensor:
    """The definition, pixel by pixel: zero outside, offsets (y, x) per tap."""
    batch, channels, height, width = x.shape
    outputs, _, kernel, _ = weight.shape
    source = x.double().numpy()
    result = np.zeros((batch, outputs, height, width))

    def pixel(n: int, row: int, column: int) -> np.ndarray:
        inside = 0 <= row < height and 0 <= column < width
        return source[n, :, row, column] if inside else np.zeros(channels)

    for n, row, column in np.ndindex(batch, height, width):
        for tap in range(kernel**2):
            y = row - kernel // 2 + tap // kernel + float(offset[n, 2 * tap, row, column])
            along = column - kernel // 2 + tap % kernel + float(offset[n, 2 * tap + 1, row, column])
            top, left = math.floor(y), math.floor(along)
            sample = np.zeros(channels)
            for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
                share = (1 - abs(y - top - down)) * (1 - abs(along - left - right))
                sample += share * pixel(n, top + down, left + right)
            factors = weight[:, :, tap // kernel, tap % kernel].double().numpy()
            result[n, :, row, column] += factors @ (sample * float(modulation[n, tap, row, column]))
    return torch.from_numpy(result).float()


def inputs(kernel: int, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(kernel)
    x = torch.randn(2, 3, 5, 6, generator=draw)
    offset = reach * torch.randn(2, 2 * kernel**2, 5, 6, generator=draw)
    modulation = 2 * torch.rand(2, kernel**2, 5, 6, generator=draw)
    return x, offset, modulation, torch.randn(4, 3, kernel, kernel, generator=draw)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("kernel", "reach"), [(1, 0.0), (1, 2.0), (3, 0.7), (3, 40.0), (7, 3.0)])
def test_both_implementations_compute_the_definition(operator, kernel, reach):
    case = inputs(kernel, reach)
    torch.testing.assert_close(operator(*case), by_definition(*case), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_bias_is_added(operator):
    case = inputs(3, 1.0)
    bias = torch.randn(4)
    torch.testing.assert_close(operator(*case, bias), operator(*case) + bias.view(1, 4, 1, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_a_position_that_is_no_number_reads_nothing_outside(value):
    x, offset, modulation, weight = inputs(3, 0.5)
    clean = table_convolution(x, offset, modulation, weight)
    offset[0, 0, 2, 2] = value
    found = table_convolution(x, offset, modulation, weight)
    found[0, :, 2, 2] = clean[0, :, 2, 2]
    assert torch.equal(found, clean)


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_is_made_of_the_host_s_numbers_which_no_cuda_graph_may_hold(operator):
    case = inputs(3, 0.7)
    with HostNumbers() as seen:
        torch.tensor((1.0, 2.0))
        assert seen.count == 1, "torch says it otherwise: this test would find nothing"
        operator(*case)
    assert seen.count == 1


def test_training_has_gradients_for_positions_too():
    case = [tensor.requires_grad_() for tensor in inputs(3, 0.7)]
    deformable_convolution(*case).square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in case)


@pytest.mark.parametrize("kernel", [1, 3])
def test_offsets_and_factors_come_from_one_convolution(monkeypatch, kernel):
    convolution = DeformableConv2d(8, 4, kernel)
    for parameter in convolution.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 8, 5, 6)
    wanted = convolution.offset_conv(x), 2 * convolution.modulator_conv(x).sigmoid()
    join = convolution._join

    def padded():
        """As on a GPU, whose tensor cores take eight outputs at a time."""
        weight, bias = join()
        missing = -len(weight) % 8
        return F.pad(weight, (0, 0, 0, 0, 0, 0, 0, missing)), F.pad(bias, (0, missing))

    for way in (join, padded):
        monkeypatch.setattr(convolution, "_join", way)
        for found, right in zip(convolution.plan(x), wanted, strict=True):
            torch.testing.assert_close(found, right)


def test_a_gpu_gets_offsets_and_factors_in_eights():
    for kernel, outputs in ((1, 8), (3, 32), (7, 152)):
        weight, bias = DeformableConv2d(8, 4, kernel).to("meta")._join()
        assert (len(weight), len(bias)) == (outputs, outputs)


def test_the_operator_of_a_whole_network_can_be_replaced():
    torch.manual_seed(0)
    layer = DeformableConv2d(3, 4, 3).eval()
    called = []

    def spy(*tensors: Tensor | None) -> Tensor:
        called.append(1)
        return grid_sample_convolution(*tensors)

    x = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        wanted = layer(x)
        set_operator(layer, spy)
        torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-5)
    assert called == [1]
