"""Windows gathered by index are those of the padded and rolled map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from birefnet_batch.models.windows import plan_windows


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize(
    ("batch", "height", "width"), [(1, 7, 7), (2, 14, 21), (1, 5, 3), (3, 8, 30), (1, 20, 7), (1, 1, 1)]
)
def test_gathering_gives_the_windows_of_the_rolled_map_and_goes_back(batch, height, width, shift):
    window = 7
    numbers = torch.arange(1, batch * height * width + 1)
    padded = F.pad(numbers.view(batch, height, width), (0, -width % window, 0, -height % window))
    rolled = padded.roll((-shift, -shift), (1, 2)).unfold(1, window, window).unfold(2, window, window)
    wanted = {tuple(tokens) for tokens in rolled.reshape(-1, window**2).tolist()}

    plan = plan_windows(batch, height, width, window, shift, 2, torch.device("cpu"))
    gathered = []
    for group in plan.groups:
        tokens = numbers[group.source]
        if group.padding is not None:
            tokens[group.padding] = 0
        assert len(tokens) <= 2 * window**2
        gathered.append(tokens)
    together = torch.cat(gathered)
    assert len(together) == rolled.numel()
    assert {tuple(tokens) for tokens in together.view(-1, window**2).tolist()} == wanted
    assert torch.equal(together[plan.back], numbers)


def test_only_windows_at_the_far_edges_of_a_shifted_map_are_masked():
    plan = plan_windows(1, 21, 21, 7, 3, 100, torch.device("cpu"))
    counts = {(group.below, group.right): len(group.source) // 49 for group in plan.groups}
    assert counts == {(False, False): 4, (False, True): 2, (True, False): 2, (True, True): 1}
    plain = plan_windows(1, 21, 21, 7, 0, 100, torch.device("cpu"))
    assert [(group.below, group.right) for group in plain.groups] == [(False, False)]
