"""Figures of the demo model on composites whose subjects and backgrounds were never trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from demo_model.composites import Library, composite

SIDE = 512


@dataclass(frozen=True)
class Scores:
    """Means over frames.

    Attributes:
        frames: how many with a subject.
        iou: of masks cut at one half.
        error: mean absolute error of the matte.
        empty_frames: how many without a subject.
        empty_mean: mean of the matte on these.
    """

    frames: int
    iou: float
    error: float
    empty_frames: int
    empty_mean: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames: IoU {self.iou:.4f}, mean absolute error {self.error:.4f}; "
            f"{self.empty_frames} empty frames: matte's mean {self.empty_mean:.4f}"
        )


def held_out_frames(
    count: int, seed: int, restyle: bool = False, procedural: bool = True
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `count` held-out composites with subjects and a quarter as many without, at 512x512.

    Subjects look as they are; with `restyle` as in training, where many have foreign colours and surfaces.
    Without `procedural` all backgrounds are photographs; with it a quarter are computed patterns, as in training.
    """
    library, rng = Library("test", procedural), np.random.default_rng(seed)
    frames = []
    while len(frames) < count:
        picture, alpha = composite(library, rng, SIDE, 1 + int(rng.random() < 0.4), restyle)
        # A subject that lies outside the frame, all but a trace of it, is no test of a matte.
        if (alpha > 0.5).mean() > 0.005:
            frames.append((picture, alpha))
    return frames + [composite(library, rng, SIDE, 0) for _ in range(max(6, count // 4))]


def iou(mask: np.ndarray, alpha: np.ndarray) -> float:
    """Return intersection over union of two mattes cut at one half; 1 where both are empty."""
    one, other = mask > 0.5, alpha > 0.5
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0


@torch.no_grad()
def matte(network: nn.Module, picture: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Return the matte (H, W) of a picture (H, W, 3) uint8 whose sides are multiples of 32."""
    from demo_model.weights import normalised

    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().to(device) / 255
    return torch.sigmoid(network(normalised(image)).float())[0, 0].cpu().numpy()


def summary(masks: list[np.ndarray], alphas: list[np.ndarray]) -> Scores:
    """Score mattes against the true ones, each (H, W) in [0, 1]."""
    overlaps, errors, empties = [], [], []
    for mask, alpha in zip(masks, alphas, strict=True):
        if alpha.any():
            overlaps.append(iou(mask, alpha))
            errors.append(np.abs(mask - alpha).mean())
        else:
            empties.append(mask.mean())
    return Scores(
        len(overlaps), float(np.mean(overlaps)), float(np.mean(errors)), len(empties), float(np.mean(empties))
    )


def evaluate(network: nn.Module, frames: list[tuple[np.ndarray, np.ndarray]], device: str = "cpu") -> Scores:
    """Score a network on frames from `held_out_frames`."""
    network.eval()
    masks = [matte(network, picture, device) for picture, _ in frames]
    return summary(masks, [alpha for _, alpha in frames])
