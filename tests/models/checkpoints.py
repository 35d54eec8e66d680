"""Checkpoints of the demo network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import load_network, locate_weights

DEMO = find_model("demo")


def written(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """The state as a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def loaded(path: Path) -> dict[str, torch.Tensor]:
    """The state of a network that has this file's weights."""
    return load_network(DEMO, locate_weights(DEMO, str(path))).state_dict()
