"""The demo model's weights: input normalisation, statistics for the operating resolution, the shipped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from birefnet_batch.matting.preprocess import MEAN, STD
from birefnet_batch.models import build_network
from demo_model.composites import Library, composite
from demo_model.paths import WEIGHTS

RECALIBRATION_FRAMES = 24
RECALIBRATION_SIDE = 448
LARGEST_VARIANCE = 1024.0


def normalised(images: Tensor) -> Tensor:
    """Return images in [0, 1], (B, 3, H, W), as the network takes them."""
    mean, std = (images.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    return (images - mean) / std


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the network's batch normalisations."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def recalibrate(network: nn.Module, library: Library, device: str) -> None:
    """Set the batch normalisations' statistics to those of large composites.

    Training runs mostly on small pictures, whose statistics differ.
    """
    norms = norms_of(network)
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
    tamed = with_small_variances(network.state_dict())
    state = {name: _halved(value).cpu().contiguous() for name, value in tamed.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    save_file(state, scratch)
    scratch.chmod(0o644)
    scratch.replace(path)


def with_small_variances(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that compute the same with no variance in front of a decoder block's inner layers above 1024.

    A channel that is divided by s in the convolution and in the mean, and by s squared in the variance, is the same
    after normalisation. Variances near 65504 and above do not survive float16, in the file or in an engine.
    """
    tamed = dict(state)
    for name in state:
        block, found, _ = name.partition(".bn_in.running_var")
        if not found:
            continue
        scale = (state[name].float() / LARGEST_VARIANCE).clamp(min=1).sqrt()
        weight, bias, mean = f"{block}.conv_in.weight", f"{block}.conv_in.bias", f"{block}.bn_in.running_mean"
        tamed[weight] = state[weight] / scale.view(-1, 1, 1, 1)
        tamed[bias], tamed[mean], tamed[name] = state[bias] / scale, state[mean] / scale, state[name] / scale**2
    return tamed


def _halved(value: Tensor) -> Tensor:
    half = value.half() if value.is_floating_point() else value
    # A variance above 65504 would become infinite, which switches its channel off.
    return half if bool(half.isfinite().all()) else value


def load(path: Path = WEIGHTS) -> nn.Module:
    """Return the demo network with the weights of a file, ready to run in float32."""
    network = build_network("demo")
    network.load_state_dict(load_file(path))
    return network.eval()
