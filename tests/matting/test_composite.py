"""Compositing."""

from __future__ import annotations

import torch

from birefnet_batch.matting import composite, cut_out


def test_alpha_mixes_foreground_and_background():
    foreground = torch.full((1, 3, 1, 3), 0.8)
    alpha = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 1, 3)
    mixed = composite(foreground, alpha, torch.tensor([0.0, 0.4, 1.0]))
    wanted = torch.tensor([[0.0, 0.2, 0.8], [0.4, 0.5, 0.8], [1.0, 0.95, 0.8]]).view(1, 3, 1, 3)
    torch.testing.assert_close(mixed, wanted)


def test_a_picture_is_a_background_too():
    background = torch.rand(2, 3, 4, 5)
    assert torch.equal(composite(torch.rand(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), background), background)


def test_straight_colours_reach_a_little_beyond_the_subject_and_no_further():
    alpha = torch.zeros(1, 1, 90, 100)
    alpha[..., 40, 20] = 0.5
    made = cut_out(torch.full((1, 3, 90, 100), 0.8), alpha, premultiplied=False)
    assert torch.equal(made[:, 3:], alpha)
    coloured = made[0, 0] > 0
    assert coloured[40 - 16 : 40 + 17, 20 - 16 : 20 + 17].all()
    rows, columns = torch.where(coloured)
    assert (rows - 40).abs().max() <= 32
    assert (columns - 20).abs().max() <= 32


def test_premultiplied_colours_are_multiplied():
    alpha = torch.tensor([0.0, 0.25, 1.0]).view(1, 1, 1, 3)
    made = cut_out(torch.full((1, 3, 1, 3), 0.8), alpha, premultiplied=True)
    torch.testing.assert_close(made[0, 0, 0], torch.tensor([0.0, 0.2, 0.8]))
