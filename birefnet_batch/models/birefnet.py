"""The whole network: the encoder at two scales, the squeeze, the decoder (Zheng et al., arXiv 2401.03407)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.decoder import Auxiliary, Decoder, DecoderBlock, upsample
from birefnet_batch.models.kept import begin_keeping
from birefnet_batch.models.swin import SwinTransformer

SIDE_MULTIPLE = 32


@dataclass(frozen=True)
class NetworkConfig:
    """The sizes of a network.

    Attributes:
        embed: channels of the encoder's first stage.
        depths: encoder blocks per stage.
        heads: attention heads per stage.
        window: side of an attention window in tokens.
        inner: channels inside the decoder blocks.
        last_inner: channels inside the block with the largest map.
        branch_factor: channels of a pyramid branch per inner channel.
        patch_inner: channels between the two convolutions over image patches.
    """

    embed: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int
    inner: int = 64
    last_inner: int = 64
    branch_factor: int = 4
    patch_inner: int = 64


NETWORKS = {
    "swin_v1_l": NetworkConfig(embed=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), window=12),
    "swin_v1_t": NetworkConfig(embed=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7),
    "demo": NetworkConfig(
        embed=32,
        depths=(2, 2, 2, 2),
        heads=(2, 4, 8, 16),
        window=8,
        inner=16,
        last_inner=8,
        branch_factor=2,
        patch_inner=8,
    ),
}


class BiRefNet(nn.Module):
    """Bilateral reference network for dichotomous segmentation and matting."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.bb = SwinTransformer(config.embed, config.depths, config.heads, config.window)
        channels = [2 * config.embed << stage for stage in (3, 2, 1, 0)]
        branch = config.branch_factor * config.inner
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(channels), channels[0], config.inner, branch))
        self.decoder = Decoder(channels, config.inner, config.last_inner, config.branch_factor, config.patch_inner)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised RGB (B, 3, H, W), sides multiples of 32, to logits (B, 1, H, W).

        Raises:
            ValueError: the input's shape is none of these.
        """
        logits: Tensor = self.decoder(image, self._encode(image))
        return logits

    def forward_with_auxiliary(self, image: Tensor) -> tuple[Tensor, Auxiliary]:
        """Return what `forward` does, and the outputs of the heads that only training uses."""
        return self.decoder.forward_with_auxiliary(image, self._encode(image))

    def prepare(self) -> None:
        """Compute once what inference needs of the weights, in eval mode, on their last device and in their last dtype.

        The network gives the same logits but for rounding, faster on a CPU. It can't be trained, moved or saved any
        more: some weights are kept in another layout only.
        """
        if self.training:
            raise ValueError("a network is prepared for inference in eval mode; call eval() first")
        begin_keeping(self)
        with torch.no_grad():
            for module in self.modules():
                if module is not self and callable(prepare := getattr(module, "prepare", None)):
                    prepare()

    def _encode(self, image: Tensor) -> list[Tensor]:
        if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
            raise ValueError(f"the network takes (batch, 3, height, width), not {tuple(image.shape)}")
        height, width = image.shape[2:]
        if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
            raise ValueError(
                f"the network takes sides that are multiples of {SIDE_MULTIPLE}, not {width}x{height}; "
                f"the nearest above is "
                f"{width + -width % SIDE_MULTIPLE}x{height + -height % SIDE_MULTIPLE}"
            )
        half = F.interpolate(image, size=(height // 2, width // 2), mode="bilinear", align_corners=True)
        maps = [
            torch.cat((full, upsample(small, full)), dim=1)
            for full, small in zip(self.bb(image), self.bb(half), strict=True)
        ]
        deepest = maps[3]
        context = [upsample(finer, deepest) for finer in maps[:3]]
        return [*maps[:3], self.squeeze_module(torch.cat((*context, deepest), dim=1))]


def build_network(name: str) -> BiRefNet:
    """Return the network called `name` with untrained weights, in training mode.

    Args:
        name: `swin_v1_l`, `swin_v1_t` or `demo`.

    Raises:
        ValueError: there is no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; the networks are {', '.join(NETWORKS)}")
    return BiRefNet(NETWORKS[name])
