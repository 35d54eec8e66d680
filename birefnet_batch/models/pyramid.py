"""Deformable pyramid pooling: what the decoder's blocks see around each pixel."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.deformable import DeformableConv2d, deformable_convolution, sample_rows, weight_rows
from birefnet_batch.models.folding import folded
from birefnet_batch.models.kept import kept
from birefnet_batch.models.linear import Product

ASPP_KERNELS = (1, 3, 7)


class DeformableBranch(nn.Module):
    """Deformable convolution, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv2d(in_channels, out_channels, kernel)
        self.bn = nn.BatchNorm2d(out_channels)

    def _make_product(self) -> Product:
        weight, bias = folded(self.atrous_conv.regular_conv, self.bn)
        return Product(weight_rows(weight), bias, activation="relu")

    def _make_rows(self) -> tuple[Tensor, Tensor]:
        weight, bias = folded(self.atrous_conv.regular_conv, self.bn)
        return weight_rows(weight).T.contiguous(), bias

    def forward(self, x: Tensor) -> Tensor:
        if self.bn.training:
            return F.relu(self.bn(self.atrous_conv(x)))
        return F.relu(self.atrous_conv(x, *folded(self.atrous_conv.regular_conv, self.bn)), inplace=True)

    @property
    def projects(self) -> bool:
        """Whether `add_projected` computes what `forward` does: no operator is given that has none for it."""
        return self.atrous_conv.operator is deformable_convolution or self.atrous_conv.projector is not None

    def add_projected(self, total: Tensor, x: Tensor, head: Tensor) -> None:
        """Add the product by `head` (outputs, out_channels) of what `forward` gives to total (B*H*W, outputs)."""
        convolution = self.atrous_conv
        if convolution.projector is not None:
            laid_out = kept(self, "projected", lambda: (*self._make_rows(), head.contiguous()))
            convolution.projector(total, x, *convolution.plan(x), *laid_out)
            return
        product = kept(self, "product", self._make_product)
        for pixels, samples in sample_rows(x, *convolution.plan(x), convolution.kernel):
            total[pixels].addmm_(product(samples), head.T)


class DeformableAspp(nn.Module):
    """Deformable convolutions of several sizes and a global average beside each other, mixed by a 1x1 one."""

    def __init__(self, channels: int, branch_channels: int) -> None:
        super().__init__()
        self.aspp1 = DeformableBranch(channels, branch_channels, 1)
        self.aspp_deforms = nn.ModuleList(
            DeformableBranch(channels, branch_channels, kernel) for kernel in ASPP_KERNELS
        )
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, branch_channels, 1, bias=False),
            nn.BatchNorm2d(branch_channels),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d((2 + len(ASPP_KERNELS)) * branch_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        # The 1x1 convolution is applied branch by branch: the wide concatenation is never stored, and what
        # comes from the average, the same everywhere, is computed for one pixel.
        branches = cast(list[DeformableBranch], [self.aspp1, *self.aspp_deforms])
        if self.bn1.training or torch.is_grad_enabled() or not all(branch.projects for branch in branches):
            *own, everywhere = self.conv1.weight.chunk(1 + len(branches), dim=1)
            mixed = F.conv2d(self.global_avg_pool(x), everywhere)
            for branch, share in zip(branches, own, strict=True):
                mixed = mixed + F.conv2d(branch(x), share)
            return F.relu(self.bn1(mixed))
        weight, bias = folded(self.conv1, self.bn1)
        *own, everywhere = weight.chunk(1 + len(branches), dim=1)
        batch, channels, height, width = x.shape
        mixed = F.conv2d(self.global_avg_pool(x), everywhere, bias).expand(batch, -1, height, width)
        total = mixed.permute(0, 2, 3, 1).contiguous().view(-1, channels)
        for branch, share in zip(branches, own, strict=True):
            branch.add_projected(total, x, share[:, :, 0, 0])
        return total.relu_().view(batch, height, width, channels).permute(0, 3, 1, 2)
