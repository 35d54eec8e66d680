"""Whether the numbers of a checkpoint can give mattes: one wrong number may spoil every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from birefnet_batch.errors import WeightsError
from birefnet_batch.models.file_text import listed

_VARIANCE = "running_var"


def check_numbers(path: Path, tensors: Iterable[tuple[str, Tensor]], fixed: Mapping[str, Tensor]) -> None:
    """Refuse numbers that make logits NaN, in float32 as the network has them, or address what is not there.

    NaN anywhere, infinity anywhere but in a variance (there it switches a channel off, no more), variances below
    zero, of which there is no root, and other indices than the network computes itself.

    Args:
        path: the file, for the message.
        tensors: by name, any dtypes, shapes already judged; taken one after another.
        fixed: what some of them must be.

    Raises:
        WeightsError: which tensors hold them.
    """
    wrong: dict[str, list[str]] = {"NaN": [], "infinities": [], "variances below zero": []}
    other: list[str] = []
    for name, given in tensors:
        if name in fixed and not torch.equal(given.to(fixed[name].dtype), fixed[name]):
            other.append(name)
        what = _wrong(name, given)
        if what is not None:
            wrong[what].append(name)
    if other:
        raise WeightsError(
            f"The weights {path} are not what the network computes itself, in {len(other)} tensors: {listed(other)}; "
            "they follow from its sizes alone: fetch the file again, or convert the checkpoint without them"
        )
    said = [f"{what}, in {len(names)} tensors: {listed(names)}" for what, names in wrong.items() if names]
    if said:
        raise WeightsError(
            f"The weights {path} hold {'; '.join(said)}; every matte would be spoiled: fetch the file again, or "
            "convert the checkpoint without overflow"
        )


def _wrong(name: str, given: Tensor) -> str | None:
    if not given.is_floating_point():
        return None
    value = given.to(torch.float32)
    variance = name.rpartition(".")[2] == _VARIANCE
    # One pass over what is right, as nearly everything is; float64, in which no sum of float32 overflows.
    if not variance and math.isfinite(value.sum(dtype=torch.float64)):
        return None
    if bool(value.isnan().any()):
        return "NaN"
    if variance:
        return "variances below zero" if bool((value < 0).any()) else None
    return "infinities"
