"""Figures of the demo model on composites whose subjects and backgrounds were never trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from demo_model.composites import Library, composite
from demo_model.weights import normalised

SIDE = 512
Frame = tuple[np.ndarray, np.ndarray]
"""A picture (SIDE, SIDE, 3) uint8 and its alpha (SIDE, SIDE) float32 in [0, 1]."""
QUANTILES = (0.1, 0.25, 0.5)


@dataclass
class Scores:
    """Figures over frames, added one by one: a thousand pictures are more than a laptop holds.

    Attributes:
        overlaps: IoU of masks cut at one half, of each frame with a subject.
        errors: mean absolute error of each such frame's matte.
        empty_means: mean of the matte of each frame without one.
    """

    overlaps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    empty_means: list[float] = field(default_factory=list)

    def add(self, mask: np.ndarray, alpha: np.ndarray) -> None:
        """Score a matte against the true one, both (H, W) in [0, 1]."""
        if alpha.any():
            self.overlaps.append(iou(mask, alpha))
            self.errors.append(float(np.abs(mask - alpha).mean()))
        else:
            self.empty_means.append(float(mask.mean()))

    def __str__(self) -> str:
        # Of the mean's own scatter: another draw of composites differs by as much.
        scatter = np.std(self.overlaps) / max(1, len(self.overlaps)) ** 0.5
        quantiles = ", ".join(f"{np.quantile(self.overlaps, share):.3f}" for share in QUANTILES)
        return (
            f"{len(self.overlaps)} frames: IoU {np.mean(self.overlaps):.4f} (standard error {scatter:.4f}; "
            f"quantiles 0.1, 0.25, 0.5: {quantiles}), mean absolute error {np.mean(self.errors):.4f}; "
            f"{len(self.empty_means)} empty frames: matte's mean {np.mean(self.empty_means):.4f}"
        )


def held_out_frames(count: int, seed: int, procedural: bool = True) -> Iterator[Frame]:
    """Yield `count` held-out composites with subjects and a quarter as many without, at 512x512.

    Subjects look as they are. Without `procedural` all backgrounds are photographs; with it a quarter are computed
    patterns, as in training.
    """
    library, rng = Library("test", procedural), np.random.default_rng(seed)
    made = 0
    while made < count:
        picture, alpha = composite(library, rng, SIDE, 1 + int(rng.random() < 0.4), restyle=False)
        # A subject that lies outside the frame, all but a trace of it, is no test of a matte.
        if (alpha > 0.5).mean() > 0.005:
            made += 1
            yield picture, alpha
    for _ in range(max(6, count // 4)):
        yield composite(library, rng, SIDE, 0)


def iou(mask: np.ndarray, alpha: np.ndarray) -> float:
    """Return intersection over union of two mattes cut at one half; 1 where both are empty."""
    one, other = mask > 0.5, alpha > 0.5
    either = (one | other).sum()
    return float((one & other).sum() / either) if either else 1.0


@torch.no_grad()
def matte(network: nn.Module, picture: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Return the matte (H, W) of a picture (H, W, 3) uint8 whose sides are multiples of 32."""
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().to(device) / 255
    return torch.sigmoid(network(normalised(image)).float())[0, 0].cpu().numpy()


def evaluate(network: nn.Module, frames: Iterable[Frame], device: str = "cpu") -> Scores:
    """Score a network on frames from `held_out_frames`."""
    network.eval()
    scores = Scores()
    for picture, alpha in frames:
        scores.add(matte(network, picture, device), alpha)
    return scores
