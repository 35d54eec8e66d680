"""What a forward pass takes of a GPU is reckoned from its shapes."""

from __future__ import annotations

from argparse import Namespace

import pytest
import torch
from estimate_gpu import costs_of, prepared
from plain_birefnet import PlainBiRefNet
from torch.utils.flop_counter import FlopCounterMode

# Of its kernels only the shapes are asked for, but they are where triton is.
pytest.importorskip("triton", reason="triton has no build for this machine")

CARD = Namespace(tflops=500.0, terabytes=2.0, launch=2.0)


def test_arithmetic_is_that_of_torch_s_own_counter():
    network, image = PlainBiRefNet("swin_v1_t").eval().to("meta"), torch.empty(1, 3, 128, 96, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    costs = costs_of(network, image, CARD)
    assert sum(cost.flops for cost in costs.values()) == counter.get_total_flops()


def test_a_kernel_takes_the_longer_of_its_arithmetic_and_its_traffic():
    # A product of 2 * 1000 * 500 * 4000 operations that moves 13 MB in half precision, and a sum that moves 12 MB.
    layer = torch.nn.Linear(500, 4000, bias=False).to("meta", torch.float16)
    image = torch.empty(1000, 500, dtype=torch.float16, device="meta")
    product = costs_of(layer, image, CARD)["mm"]
    assert (product.kernels, product.flops, product.bytes) == (1, 4e9, 13e6)
    assert product.seconds == pytest.approx(2e-6 + 4e9 / 500e12)
    shift = torch.nn.Module()
    shift.forward = lambda x: x + x
    twice = costs_of(shift, image.expand(4, 1000, 500).contiguous(), CARD)["add"]
    assert (twice.flops, twice.bytes) == (0, 12e6)
    assert twice.seconds == pytest.approx(2e-6 + 12e6 / 2e12)


def test_fused_blocks_have_fewer_kernels_and_less_traffic_for_the_same_products():
    image = torch.empty(2, 3, 256, 256, dtype=torch.float16, device="meta")
    apart, together = (costs_of(prepared("swin_v1_t", torch.float16, way), image, CARD) for way in (False, True))
    totals = [
        [sum(getattr(cost, key) for cost in one.values()) for one in (apart, together)] for key in vars(apart["mm"])
    ]
    kernels, flops, traffic, _ = totals
    assert kernels[1] < 0.7 * kernels[0]
    assert traffic[1] < 0.95 * traffic[0]
    # Padding is projected, too.
    assert flops[0] <= flops[1] < 1.1 * flops[0]
    assert {"gather_normalised", "add_normalised", "deform", "attend"} <= together.keys()
