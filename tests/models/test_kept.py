"""What weights alone decide is computed once in a prepared network, and from the weights of the moment in any other."""

from __future__ import annotations

import pytest
import torch
from filled import filled_network
from torch import nn

from birefnet_batch.models import folding, swin
from birefnet_batch.models.folding import convolve_normalised
from birefnet_batch.models.kept import begin_keeping, kept


def test_a_prepared_network_folds_and_plans_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(1, 3, 64, 96)
    prepared = filled_network("demo")
    prepared.prepare()
    with torch.inference_mode():
        first = prepared(images)
        for module, name in ((folding, "_fold"), (swin, "plan_windows"), (swin.SwinBlock, "_mask")):
            monkeypatch.setattr(module, name, lambda *_, name=name: pytest.fail(f"{name} was called again"))
        assert torch.equal(prepared(images), first)


def test_what_was_kept_in_inference_can_be_used_outside_of_it() -> None:
    prepared = filled_network("demo")
    prepared.prepare()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = prepared(images)
    with torch.no_grad():
        assert torch.equal(prepared(images), wanted)


def test_a_network_in_training_folds_the_weights_that_it_has_now() -> None:
    convolution, norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3).eval()
    x = torch.randn(1, 2, 4, 4)
    before = convolve_normalised(x, convolution, norm)
    with torch.no_grad():
        convolution.weight.mul_(2)
    after = convolve_normalised(x, convolution, norm)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, norm(convolution(x)))


def test_each_module_keeps_its_own() -> None:
    pair = nn.ModuleList([nn.Identity(), nn.Identity()])
    begin_keeping(pair)
    assert [kept(module, "it", lambda number=number: number) for number, module in enumerate(pair)] == [0, 1]
    assert [kept(module, "it", lambda: 2) for module in pair] == [0, 1]
