"""The decoder: blocks with deformable pyramid pooling, image patches beside every stage, lateral connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.folding import bias_of, convolve_normalised, folded
from birefnet_batch.models.kept import kept
from birefnet_batch.models.pyramid import DeformableAspp

GRADIENT_CHANNELS = 16


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """Resize x bilinearly, corners aligned, to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


class DecoderBlock(nn.Module):
    """3x3 convolution to a few channels, deformable pyramid pooling, 3x3 convolution to the output's."""

    def __init__(self, in_channels: int, out_channels: int, inner: int, branch_channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.dec_att = DeformableAspp(inner, branch_channels)
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(inner)
        self.bn_out = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return convolve_normalised(self._mix(x), self.conv_out, self.bn_out)

    def project(self, x: Tensor, head: Tensor) -> Tensor:
        """Return the 1x1 convolution by `head` (outputs, out_channels, 1, 1) of what `forward` gives."""
        if self.bn_out.training:
            return F.conv2d(self(x), head)
        return F.conv2d(self._mix(x), *kept(self, "projected", lambda: self._combine(head)), padding=1)

    def _combine(self, head: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = folded(self.conv_out, self.bn_out)
        outer = head[:, :, 0, 0].float()
        combined = torch.einsum("ho,oikl->hikl", outer, weight.float()).to(weight.dtype)
        return combined, (outer @ bias.float()).to(bias.dtype)

    def _mix(self, x: Tensor) -> Tensor:
        x = F.relu(convolve_normalised(x, self.conv_in, self.bn_in), inplace=True)
        # Deformable sampling reads whole pixels, so that these few channels are best stored pixel by pixel.
        mixed: Tensor = self.dec_att(x.contiguous(memory_format=torch.channels_last))
        return mixed


class PatchConvs(nn.Module):
    """Two 3x3 convolutions, linear together, that bring image patches to a few channels."""

    def __init__(self, in_channels: int, out_channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 3, padding=1)
        self.conv_out = nn.Conv2d(inner, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.conv_out(self.conv1(x))
        return output

    def project(self, x: Tensor, head: Tensor, bias: Tensor) -> Tensor:
        """Return the 1x1 convolution by `head` (1, out_channels, 1, 1) and `bias` (1,) of what `forward` gives.

        Nothing lies between the three convolutions but the zeros around the inner one's input, so that the
        first can give, for each tap of the second, what this tap adds to the one output: nine channels at
        full resolution in place of `inner`.
        """
        first, first_bias, total = kept(self, "projected", lambda: self._combine(head, bias))
        shares = F.pad(F.conv2d(x, first, first_bias, padding=1), (1, 1, 1, 1))
        height, width = x.shape[2:]
        for tap in range(first.shape[0]):
            row, column = divmod(tap, self.conv_out.kernel_size[1])
            total = total + shares[:, tap : tap + 1, row : row + height, column : column + width]
        return total

    def _combine(self, head: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outer, dtype = head[0, :, 0, 0].float(), self.conv1.weight.dtype
        second = torch.einsum("o,oikl->kli", outer, self.conv_out.weight.float()).flatten(0, 1)
        first = torch.einsum("ti,ickl->tckl", second, self.conv1.weight.float()).to(dtype)
        total = (outer @ bias_of(self.conv_out).float() + bias.float()).to(dtype).view(1, 1, 1, 1)
        return first, (second @ bias_of(self.conv1).float()).to(dtype), total


class LateralBlock(nn.Module):
    """A 1x1 convolution of an encoder's map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.conv(x)
        return output


def image_patches(image: Tensor, like: Tensor) -> Tensor:
    """Cut an image into tiles as large as `like` and lay them along channels (colour, grid row, grid column)."""
    batch, colours, height, width = image.shape
    tile_height, tile_width = like.shape[2:]
    rows, columns = height // tile_height, width // tile_width
    tiles = image.reshape(batch, colours, rows, tile_height, columns, tile_width).permute(0, 3, 5, 1, 2, 4)
    # Stored pixel by pixel, as the maps beside which they are laid.
    return tiles.reshape(batch, tile_height, tile_width, colours * rows * columns).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Auxiliary:
    """What training may supervise besides the logits, stages 4, 3 and 2 (1/32, 1/16 and 1/8 of the input).

    Attributes:
        masks: logits of the mask, each (B, 1, height, width) of its stage.
        gradients: logits of where the image's edges matter, each (B, 1, height, width) of its stage.
    """

    masks: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]


class Decoder(nn.Module):
    """From four feature maps and the image to one logit per pixel.

    Args:
        channels: channels of the maps at 1/32, 1/16, 1/8 and 1/4.
        inner: channels inside the blocks of stages 4, 3 and 2.
        last_inner: channels inside the block of stage 1, the largest map.
        branch_factor: channels of a pyramid branch per inner channel.
        patch_inner: channels between the two convolutions over image patches.
    """

    def __init__(
        self, channels: Sequence[int], inner: int, last_inner: int, branch_factor: int, patch_inner: int
    ) -> None:
        super().__init__()
        patch_channels = [channels[0] // 8, *(count // 8 for count in channels)]
        for stage, out_channels in zip((5, 4, 3, 2, 1), patch_channels, strict=True):
            colours = 3 * 4**stage if stage > 1 else 3
            self.add_module(f"ipt_blk{stage}", PatchConvs(colours, out_channels, patch_inner))
        outputs = [*channels[1:], channels[3] // 2]
        for index, stage in enumerate((4, 3, 2, 1)):
            width = last_inner if stage == 1 else inner
            block = DecoderBlock(channels[index] + patch_channels[index], outputs[index], width, branch_factor * width)
            self.add_module(f"decoder_block{stage}", block)
        self.conv_out1 = nn.Sequential(nn.Conv2d(outputs[3] + patch_channels[4], 1, 1))
        coarse = tuple(zip((4, 3, 2), outputs[:3], strict=True))
        for stage, width in coarse:
            self.add_module(f"lateral_block{stage}", LateralBlock(width))
        for stage, width in coarse:
            self.add_module(f"conv_ms_spvn_{stage}", nn.Conv2d(width, 1, 1))
        for stage, width in coarse:
            convolution = nn.Conv2d(width, GRADIENT_CHANNELS, 3, padding=1)
            gradients = nn.Sequential(convolution, nn.BatchNorm2d(GRADIENT_CHANNELS), nn.ReLU())
            self.add_module(f"gdt_convs_{stage}", gradients)
        for use in ("pred", "attn"):
            for stage, _ in coarse:
                self.add_module(f"gdt_convs_{use}_{stage}", nn.Sequential(nn.Conv2d(GRADIENT_CHANNELS, 1, 1)))

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Map (B, 3, H, W) and its maps at 1/4, 1/8, 1/16, 1/32 to logits (B, 1, H, W)."""
        x = maps[3]
        for stage in (4, 3, 2):
            x, _ = self._stage(stage, image, x, maps[stage - 2])
        return self._logits(image, x)

    def forward_with_auxiliary(self, image: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, Auxiliary]:
        """Return the logits of `forward` and what the training heads give."""
        x = maps[3]
        masks, gradients = [], []
        for stage in (4, 3, 2):
            x, (features, edges) = self._stage(stage, image, x, maps[stage - 2])
            masks.append(self.get_submodule(f"conv_ms_spvn_{stage}")(features))
            gradients.append(self.get_submodule(f"gdt_convs_pred_{stage}")(edges))
        return self._logits(image, x), Auxiliary(tuple(masks), tuple(gradients))

    def _stage(self, stage: int, image: Tensor, x: Tensor, lateral: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the next stage's input, and this stage's features and edge features."""
        features: Tensor = self.get_submodule(f"decoder_block{stage}")(self._beside_patches(stage, image, x))
        gradients = cast(nn.Sequential, self.get_submodule(f"gdt_convs_{stage}"))
        convolution, norm = cast(nn.Conv2d, gradients[0]), cast(nn.BatchNorm2d, gradients[1])
        edges = F.relu(convolve_normalised(features, convolution, norm), inplace=True)
        attention = torch.sigmoid(self.get_submodule(f"gdt_convs_attn_{stage}")(edges))
        attended = upsample(features * attention, lateral)
        return attended + self.get_submodule(f"lateral_block{stage}")(lateral), (features, edges)

    def _logits(self, image: Tensor, x: Tensor) -> Tensor:
        # The last 1x1 convolution and the upsampling are linear and the upsampling's weights add up to one,
        # so that the convolution can come first.
        patches = cast(PatchConvs, self.get_submodule("ipt_blk1"))
        block = cast(DecoderBlock, self.get_submodule("decoder_block1"))
        head = cast(nn.Conv2d, self.conv_out1[0])
        from_map = block.conv_out.out_channels
        coarse = block.project(self._beside_patches(1, image, x), head.weight[:, :from_map])
        return upsample(coarse, image) + patches.project(image, head.weight[:, from_map:], bias_of(head))

    def _beside_patches(self, stage: int, image: Tensor, x: Tensor) -> Tensor:
        return torch.cat((x, self.get_submodule(f"ipt_blk{stage + 1}")(image_patches(image, x))), dim=1)
