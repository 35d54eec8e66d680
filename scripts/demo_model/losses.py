"""What the demo model is trained to make small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet_batch.models.decoder import Auxiliary

AUXILIARY_SHARE = 0.3
EDGE_SHARE = 0.1


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def _soft_iou(mask: Tensor, alpha: Tensor) -> Tensor:
    shared = (mask * alpha).sum(dim=(1, 2, 3))
    either = (mask + alpha - mask * alpha).sum(dim=(1, 2, 3))
    # An empty frame has nothing to overlap: BCE and L1 speak for it.
    filled = (alpha.sum(dim=(1, 2, 3)) > 16).float()
    return ((1 - shared / (either + 1)) * filled).sum() / filled.sum().clamp(min=1)


def total_loss(logits: Tensor, auxiliary: Auxiliary, alpha: Tensor, image: Tensor) -> Tensor:
    """Return the weighted sum of all losses; every tensor is (B, C, H, W)."""
    mask = torch.sigmoid(logits)
    loss = F.binary_cross_entropy_with_logits(logits, alpha) + _soft_iou(mask, alpha) + F.l1_loss(mask, alpha)
    for slope, true in zip(_slopes(mask), _slopes(alpha), strict=True):
        loss = loss + F.l1_loss(slope, true)
    down, right = _slopes(image.mean(dim=1, keepdim=True))
    edges = (F.pad(down.abs(), (0, 0, 0, 1)) + F.pad(right.abs(), (0, 1))) * 0.6
    edges = edges.clamp(max=1) * (F.max_pool2d(alpha, 3, 1, 1) > 0.05)
    for predicted, gradient in zip(auxiliary.masks, auxiliary.gradients, strict=True):
        shape = predicted.shape[2:]
        target = F.interpolate(alpha, size=shape, mode="area")
        share = F.binary_cross_entropy_with_logits(predicted, target) + _soft_iou(torch.sigmoid(predicted), target)
        loss = loss + AUXILIARY_SHARE * share
        loss = loss + EDGE_SHARE * F.binary_cross_entropy_with_logits(gradient, F.adaptive_max_pool2d(edges, shape))
    return loss
