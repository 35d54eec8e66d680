"""Floats to levels."""

from __future__ import annotations

import torch

from birefnet_batch.matting import full_scale, to_bytes, to_words


def test_bytes_are_rounded_and_bounded():
    planes = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.2, -0.1]).view(1, 1, 1, 6)
    assert to_bytes(planes).flatten().tolist() == [0, 0, 1, 255, 255, 0]
    assert to_bytes(torch.rand(2, 3, 4, 5)).shape == (2, 4, 5, 3)


def test_every_level_comes_back_and_compiled_bytes_are_those_of_other_devices():
    levels = torch.arange(256) / 255
    assert to_bytes(levels.view(1, 1, 1, 256)).flatten().tolist() == list(range(256))
    # Clear of the halves between two levels, which float32 and float64 may round apart.
    planes = (torch.randint(-30, 286, (2, 4, 33, 47)) + 0.98 * torch.rand(2, 4, 33, 47) - 0.49) / 255
    assert torch.equal(to_bytes(planes), to_bytes(planes.double()))
    assert torch.equal(to_bytes(planes.transpose(2, 3)), to_bytes(planes.transpose(2, 3).double()))


def test_every_word_comes_back_and_words_are_bounded():
    levels = torch.arange(65536, dtype=torch.float64) / 65535
    words = to_words(levels.view(1, 1, 256, 256))
    assert words.flatten().tolist() == list(range(65536))
    assert words.float().div(full_scale(words)).max() == 1
    assert to_words(torch.tensor([-0.1, 1.2]).view(1, 1, 1, 2)).flatten().tolist() == [0, 65535]
