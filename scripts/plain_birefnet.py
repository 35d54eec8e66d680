"""The network as its definition reads, with nothing done for speed: what `bench_model` and `gpu_check` compare with.

Written from the paper and the tensor names alone, apart from `birefnet_batch.models`, so that the tests also check
one by the other at shapes for which there are no recorded outputs. Inference only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, corners aligned."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def deformable_convolution(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor) -> Tensor:
    """Sample every tap of every pixel into one matrix, then multiply: the im2col form."""
    batch, channels, height, width = x.shape
    outputs, _, kernel, _ = weight.shape
    taps = kernel**2
    offset = offset.view(batch, taps, 2, height, width).float()
    reach = torch.arange(kernel, device=x.device) - kernel // 2
    rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
    y = offset[:, :, 0] + reach.repeat_interleave(kernel).view(1, taps, 1, 1) + rows.view(1, 1, -1, 1)
    along = offset[:, :, 1] + reach.repeat(kernel).view(1, taps, 1, 1) + columns.view(1, 1, 1, -1)
    grid = torch.stack(((2 * along + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).to(x.dtype)
    columns = F.grid_sample(x, grid.view(batch, taps * height, width, 2), padding_mode="zeros", align_corners=False)
    columns = columns.view(batch, channels, taps, height, width) * modulation.unsqueeze(1)
    return (weight.flatten(1) @ columns.flatten(3).flatten(1, 2)).view(batch, outputs, height, width)


class WindowAttention(nn.Module):
    """Attention in one window, scores and all."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        places = torch.stack((rows.flatten(), columns.flatten()))
        distance = places[:, :, None] - places[:, None, :] + window - 1
        self.register_buffer("relative_position_index", distance[0] * (2 * window - 1) + distance[1])
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (windows, window², channels) to the same shape; mask is (windows of one image, window², window²)."""
        windows, count, channels = x.shape
        query, key, value = self.qkv(x).view(windows, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        scores = scores + bias.view(count, count, self.heads).permute(2, 0, 1)
        if mask is not None:
            scores = scores.view(-1, len(mask), self.heads, count, count) + mask[None, :, None]
            scores = scores.view(windows, self.heads, count, count)
        return self.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(windows, count, channels))


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """One block over tokens (B, H, W, C)."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.attn = nn.LayerNorm(channels), WindowAttention(channels, heads, window)
        self.norm2, self.mlp = nn.LayerNorm(channels), Mlp(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Keep the shape."""
        batch, height, width, channels = x.shape
        side = self.window
        tokens = F.pad(self.norm1(x), (0, 0, 0, -width % side, 0, -height % side))
        if self.shift:
            tokens = torch.roll(tokens, (-self.shift, -self.shift), (1, 2))
        rows, columns = tokens.shape[1] // side, tokens.shape[2] // side
        windows = tokens.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        windows = self.attn(windows.reshape(-1, side * side, channels), mask if self.shift else None)
        tokens = windows.view(batch, rows, columns, side, side, channels).transpose(2, 3)
        tokens = tokens.reshape(batch, rows * side, columns * side, channels)
        if self.shift:
            tokens = torch.roll(tokens, (self.shift, self.shift), (1, 2))
        x = x + tokens[:, :height, :width]
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Half the sides, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction, self.norm = nn.Linear(4 * channels, 2 * channels, bias=False), nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H/2), ceil(W/2), 2C)."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class SwinStage(nn.Module):
    """Some blocks, and the merging after them."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, merges: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, window // 2 if index % 2 else 0) for index in range(depth)
        )
        if merges:
            self.downsample = PatchMerging(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        side, shift = self.window, self.window // 2
        height, width = (size + -size % side for size in x.shape[1:3])
        regions = torch.zeros(height, width, device=x.device)
        spans = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
        for index, (rows, columns) in enumerate((rows, columns) for rows in spans for columns in spans):
            regions[rows, columns] = index
        regions = regions.view(height // side, side, width // side, side).transpose(1, 2).reshape(-1, side * side)
        mask = torch.zeros(len(regions), side * side, side * side, device=x.device, dtype=x.dtype)
        mask[regions[:, :, None] != regions[:, None, :]] = -torch.inf
        for block in self.blocks:
            x = block(x, mask)
        return x


class PatchEmbed(nn.Module):
    """Tokens of 4x4 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(3, channels, 4, stride=4), nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, H/4, W/4, channels)."""
        image = F.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4))
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class Swin(nn.Module):
    """The encoder."""

    def __init__(self, embed: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(embed)
        self.layers = nn.ModuleList(
            SwinStage(embed << stage, depths[stage], heads[stage], window, stage < 3) for stage in range(4)
        )
        for stage in range(4):
            self.add_module(f"norm{stage}", nn.LayerNorm(embed << stage))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Four maps."""
        x = self.patch_embed(image)
        maps = []
        for stage, layer in enumerate(self.layers):
            x = layer(x)
            maps.append(self.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous())
            if stage < 3:
                x = layer.downsample(x)
        return maps


class Deformable(nn.Module):
    """A modulated deformable convolution."""

    def __init__(self, channels: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.offset_conv = nn.Conv2d(channels, 2 * kernel**2, kernel, padding=kernel // 2)
        self.modulator_conv = nn.Conv2d(channels, kernel**2, kernel, padding=kernel // 2)
        self.regular_conv = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Keep height and width."""
        modulation = 2 * torch.sigmoid(self.modulator_conv(x))
        return deformable_convolution(x, self.offset_conv(x), modulation, self.regular_conv.weight)


class Branch(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, channels: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv, self.bn = Deformable(channels, outputs, kernel), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Keep height and width."""
        return F.relu(self.bn(self.atrous_conv(x)))


class Aspp(nn.Module):
    """Branches beside each other."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.aspp1 = Branch(channels, outputs, 1)
        self.aspp_deforms = nn.ModuleList(Branch(channels, outputs, kernel) for kernel in (1, 3, 7))
        pooled = nn.Conv2d(channels, outputs, 1, bias=False)
        self.global_avg_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), pooled, nn.BatchNorm2d(outputs), nn.ReLU())
        self.conv1, self.bn1 = nn.Conv2d(5 * outputs, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        branches = [branch(x) for branch in (self.aspp1, *self.aspp_deforms)]
        return F.relu(self.bn1(self.conv1(torch.cat((*branches, resize(self.global_avg_pool(x), x)), dim=1))))


class DecoderBlock(nn.Module):
    """Convolution, pyramid, convolution."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv_in, self.conv_out = nn.Conv2d(channels, 64, 3, padding=1), nn.Conv2d(64, outputs, 3, padding=1)
        self.dec_att = Aspp(64, 256)
        self.bn_in, self.bn_out = nn.BatchNorm2d(64), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Keep height and width."""
        return self.bn_out(self.conv_out(self.dec_att(F.relu(self.bn_in(self.conv_in(x))))))


class PatchConvs(nn.Module):
    """Two convolutions."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv_out = nn.Conv2d(channels, 64, 3, padding=1), nn.Conv2d(64, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep height and width."""
        return self.conv_out(self.conv1(x))


class Lateral(nn.Module):
    """A 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return self.conv(x)


class Decoder(nn.Module):
    """Four stages and the head."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        outputs = [*channels[1:], channels[3] // 2]
        for stage, width in zip((5, 4, 3, 2, 1), (channels[0], *channels), strict=True):
            self.add_module(f"ipt_blk{stage}", PatchConvs(3 * 4**stage if stage > 1 else 3, width // 8))
        for stage, width, output in zip((4, 3, 2, 1), channels, outputs, strict=True):
            beside = self.get_submodule(f"ipt_blk{stage + 1}").conv_out.out_channels
            self.add_module(f"decoder_block{stage}", DecoderBlock(width + beside, output))
        for stage, width in zip((4, 3, 2), outputs, strict=False):
            self.add_module(f"lateral_block{stage}", Lateral(width))
            self.add_module(f"conv_ms_spvn_{stage}", nn.Conv2d(width, 1, 1))
            edges = (nn.Conv2d(width, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
            self.add_module(f"gdt_convs_{stage}", nn.Sequential(*edges))
            for use in ("pred", "attn"):
                self.add_module(f"gdt_convs_{use}_{stage}", nn.Sequential(nn.Conv2d(16, 1, 1)))
        self.conv_out1 = nn.Sequential(nn.Conv2d(outputs[3] + channels[3] // 8, 1, 1))

    def forward(self, image: Tensor, maps: list[Tensor]) -> Tensor:
        """Logits of the image's size."""
        part = self.get_submodule
        x = maps[3]
        for stage in (4, 3, 2, 1):
            rows, columns = x.shape[2:]
            patches = image.unflatten(3, (-1, columns)).unflatten(2, (-1, rows)).permute(0, 1, 2, 4, 3, 5)
            patches = part(f"ipt_blk{stage + 1}")(patches.flatten(1, 3))
            x = part(f"decoder_block{stage}")(torch.cat((x, patches), dim=1))
            if stage > 1:
                x = x * torch.sigmoid(part(f"gdt_convs_attn_{stage}")(part(f"gdt_convs_{stage}")(x)))
                x = resize(x, maps[stage - 2]) + part(f"lateral_block{stage}")(maps[stage - 2])
        return self.conv_out1(torch.cat((resize(x, image), part("ipt_blk1")(image)), dim=1))


SIZES = {"swin_v1_l": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12), "swin_v1_t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7)}


class PlainBiRefNet(nn.Module):
    """The published network `swin_v1_l` or `swin_v1_t`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        embed, depths, heads, window = SIZES[name]
        channels = [2 * embed << stage for stage in (3, 2, 1, 0)]
        self.bb = Swin(embed, depths, heads, window)
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(channels), channels[0]))
        self.decoder = Decoder(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised (B, 3, H, W), sides multiples of 32, to logits (B, 1, H, W)."""
        half = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=True)
        maps = [torch.cat((x, resize(y, x)), dim=1) for x, y in zip(self.bb(image), self.bb(half), strict=True)]
        maps[3] = self.squeeze_module(torch.cat((*(resize(x, maps[3]) for x in maps[:3]), maps[3]), dim=1))
        return self.decoder(image, maps)
