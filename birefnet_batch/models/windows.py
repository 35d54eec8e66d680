"""Which tokens of a map make up which attention window, as indices: one gather there, one back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowGroup:
    """Windows that share a mask and are computed at once.

    Attributes:
        source: (windows * window²,) the row, in the flattened (B*H*W) tokens, of each token of the windows; that of
            padding is some row that there is.
        padding: which of these tokens are padding, or None.
        right: whether columns right of the shift came from the other side of the map.
        below: whether rows below the shift came from the other side of the map.
    """

    source: Tensor
    padding: Tensor | None
    right: bool
    below: bool


@dataclass(frozen=True)
class WindowPlan:
    """How the tokens of a map are gathered into windows.

    Attributes:
        groups: windows, together all of them.
        back: (B*H*W,) the row of each token among the tokens of all groups.
    """

    groups: tuple[WindowGroup, ...]
    back: Tensor


@dataclass(frozen=True)
class WindowRows:
    """The same of all windows together.

    Attributes:
        source: (windows * window²,) int32, the token of each row, or -1 where it is padding.
        back: (B*H*W,) int32, the row of each token.
        groups: how many rows there are, one group after another, with each of the masks: (rows, below, right).
    """

    source: Tensor
    back: Tensor
    groups: tuple[tuple[int, bool, bool], ...]


@lru_cache(maxsize=128)
def plan_rows(batch: int, height: int, width: int, window: int, shift: int, device: torch.device) -> WindowRows:
    """Plan windows as `plan_windows` does, with one group for each mask.

    Args:
        batch: maps.
        height: of each, tokens.
        width: of each, tokens.
        window: side of a window, tokens.
        shift: tokens; 0 or window//2.
        device: of the indices.
    """
    plan = plan_windows(batch, height, width, window, shift, batch * height * width, torch.device("cpu"))
    # As there: training in the same process may use them.
    with torch.inference_mode(False), torch.device("cpu"):
        sources = []
        for group in plan.groups:
            source = group.source.int()
            sources.append(source if group.padding is None else source.index_fill(0, group.padding, -1))
        groups = tuple((len(group.source), group.below, group.right) for group in plan.groups)
        return WindowRows(torch.cat(sources).to(device), plan.back.int().to(device), groups)


@lru_cache(maxsize=128)
def plan_windows(
    batch: int, height: int, width: int, window: int, shift: int, limit: int, device: torch.device
) -> WindowPlan:
    """Plan the windows of a map that is padded on the right and below and rolled by `shift` up and to the left.

    Args:
        batch: maps.
        height: of each, tokens.
        width: of each, tokens.
        window: side of a window, tokens.
        shift: tokens; 0 or window//2.
        limit: windows a group.
        device: of the indices.
    """
    # Outside inference mode, or training that follows in the same process could not use what is cached.
    # On the CPU even where networks are built without memory: what padding is must be looked at.
    with torch.inference_mode(False), torch.device("cpu"):
        rows, columns = -(-height // window), -(-width // window)
        row = (torch.arange(rows * window) + shift) % (rows * window)
        column = (torch.arange(columns * window) + shift) % (columns * window)
        inside = (row[:, None] < height) & (column[None, :] < width)
        place = torch.where(inside, row[:, None] * width + column[None, :], -1)
        # (rows, columns, window²), -1 for padding
        place = place.view(rows, window, columns, window).transpose(1, 2).reshape(rows, columns, window**2)
        first = torch.arange(batch).view(-1, 1, 1) * (height * width)
        groups = []
        order = []
        for down, along, below, right in _regions(rows, columns, shift):
            places = place[down, along].reshape(1, -1, window**2)
            found = torch.where(places >= 0, places + first, -1).view(-1, window**2)
            order.append(found)
            for chunk in torch.split(found, limit):
                source = chunk.flatten()
                padding = (source < 0).nonzero().flatten()
                groups.append(
                    WindowGroup(
                        source.clamp(min=0).to(device), padding.to(device) if len(padding) else None, right, below
                    )
                )
        gathered = torch.cat(order).flatten()
        real = (gathered >= 0).nonzero().flatten()
        back = torch.empty(batch * height * width, dtype=torch.int64)
        back[gathered[real]] = real
        return WindowPlan(tuple(groups), back.to(device))


def _regions(rows: int, columns: int, shift: int) -> Iterator[tuple[slice, slice, bool, bool]]:
    """After the roll only the last row and the last column of windows hold tokens that were far apart."""
    if not shift:
        yield slice(None), slice(None), False, False
        return
    for down, below in ((slice(0, rows - 1), False), (slice(rows - 1, rows), True)):
        for along, right in ((slice(0, columns - 1), False), (slice(columns - 1, columns), True)):
            if (rows > 1 or below) and (columns > 1 or right):
                yield down, along, below, right
