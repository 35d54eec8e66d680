"""Windows gathered by index are those of the padded and rolled map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from birefnet_batch.models.windows import plan_rows, plan_windows


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


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 7, 7), (2, 14, 21), (3, 8, 30), (1, 1, 1)])
def test_rows_are_those_of_the_groups_with_padding_marked(batch, height, width, shift):
    device = torch.device("cpu")
    rows = plan_rows(batch, height, width, 7, shift, device)
    plan = plan_windows(batch, height, width, 7, shift, 1 << 30, device)
    assert [(len(group.source), group.below, group.right) for group in plan.groups] == list(rows.groups)
    at = 0
    for group in plan.groups:
        mine = rows.source[at : at + len(group.source)]
        padding = torch.zeros(len(mine), dtype=torch.bool)
        if group.padding is not None:
            padding[group.padding] = True
        assert torch.equal(mine[~padding].long(), group.source[~padding])
        assert (mine[padding] == -1).all()
        at += len(mine)
    assert at == len(rows.source)
    assert torch.equal(rows.back.long(), plan.back)
