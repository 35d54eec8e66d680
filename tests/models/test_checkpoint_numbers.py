"""Numbers of a checkpoint that would spoil every matte are refused, wherever it is read; harmless ones are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import DEMO, loaded, written

from birefnet_batch.errors import WeightsError
from birefnet_batch.models.checkpoint import check_file

WEIGHT, VARIANCE = "bb.patch_embed.proj.weight", "squeeze_module.0.bn_in.running_var"


def with_one(path: Path, state: dict[str, torch.Tensor], name: str, number: float, kind: torch.dtype) -> Path:
    """A checkpoint of another precision with one number of one tensor changed."""
    changed = {name: (value.to(kind) if value.is_floating_point() else value).clone() for name, value in state.items()}
    changed[name].view(-1)[0] = number
    return written(path, changed)


@pytest.mark.parametrize(
    ("name", "number", "kind", "told"),
    [
        (WEIGHT, float("nan"), torch.float32, f"NaN, in 1 tensors: {WEIGHT}"),
        (VARIANCE, float("nan"), torch.float32, f"NaN, in 1 tensors: {VARIANCE}"),
        (WEIGHT, float("inf"), torch.float16, f"infinities, in 1 tensors: {WEIGHT}"),
        (WEIGHT, float("-inf"), torch.float32, f"infinities, in 1 tensors: {WEIGHT}"),
        # Finite in the file, but not as the network has it.
        (WEIGHT, 1e300, torch.float64, f"infinities, in 1 tensors: {WEIGHT}"),
        (VARIANCE, -1.0, torch.float32, f"variances below zero, in 1 tensors: {VARIANCE}"),
        (VARIANCE, float("-inf"), torch.float32, f"variances below zero, in 1 tensors: {VARIANCE}"),
    ],
    ids=str,
)
def test_numbers_that_make_logits_nan_are_refused_by_verify_and_by_a_run(tmp_path, state, name, number, kind, told):
    path = with_one(tmp_path / "model.safetensors", state, name, number, kind)
    for judge in (loaded, lambda path: check_file(path, DEMO), lambda path: check_file(path, None)):
        with pytest.raises(WeightsError, match=f"hold {told}; every matte would be spoiled"):
            judge(path)


def test_an_infinite_variance_switches_a_channel_off_and_is_taken(tmp_path, state):
    path = with_one(tmp_path / "model.safetensors", state, VARIANCE, float("inf"), torch.float16)
    assert check_file(path, DEMO) == "demo"
    assert loaded(path)[VARIANCE][0] == float("inf")
