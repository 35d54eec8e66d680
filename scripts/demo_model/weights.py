"""The demo model's weights: input normalisation, statistics for the operating resolution, the shipped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birefnet_batch.models import build_network
from demo_model.composites import Library, composite
from demo_model.paths import WEIGHTS

RECALIBRATION_FRAMES = 24
RECALIBRATION_SIDE = 448


def normalised(images: Tensor) -> Tensor:
    """Return images in [0, 1], (B, 3, H, W), as the network takes them."""
    mean = images.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    return (images - mean) / images.new_tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


@torch.no_grad()
def recalibrate(network: nn.Module, library: Library, device: str) -> None:
    """Set the batch normalisations' statistics to those of large composites.

    Training runs mostly on small pictures, whose statistics differ.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches below
    network.train()
    rng = np.random.default_rng(21)
    for _ in range(RECALIBRATION_FRAMES // 4):
        frames = np.stack([composite(library, rng, RECALIBRATION_SIDE)[0] for _ in range(4)])
        images = torch.from_numpy(frames).permute(0, 3, 1, 2).float().to(device) / 255
        network(normalised(images))
    for norm in norms:
        norm.momentum = 0.1


def export(network: nn.Module, path: Path = WEIGHTS) -> None:
    """Write the network's weights as float16 safetensors, atomically; what float16 cannot hold stays float32."""
    state = {name: _halved(value).cpu().contiguous() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    save_file(state, scratch)
    scratch.chmod(0o644)
    scratch.replace(path)


def _halved(value: Tensor) -> Tensor:
    half = value.half() if value.is_floating_point() else value
    # A variance above 65504 would become infinite, which switches its channel off.
    return half if bool(half.isfinite().all()) else value


def load(path: Path = WEIGHTS) -> nn.Module:
    """Return the demo network with the weights of a file, ready to run in float32."""
    network = build_network("demo")
    network.load_state_dict(load_file(path))
    return network.eval()
