"""The encoder: Swin Transformer v1 with four feature maps (Liu et al., ICCV 2021, arXiv 2103.14030)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet_batch.models.kept import kept
from birefnet_batch.models.linear import Linear
from birefnet_batch.models.windows import plan_windows

# Bounds the tokens that are worked on at once: 4 MiB of float32 on a CPU, their hidden layer 16; on a GPU 512 MiB.
CPU_CHUNK_ELEMENTS = 1 << 20
GPU_CHUNK_ELEMENTS = 1 << 27


def relative_position_index(window: int) -> Tensor:
    """Return (window², window²) int64: the row of the bias table for each pair of tokens of a window."""
    # Not where networks without memory are built: there torch would load its compilers for it, in two seconds.
    places = torch.arange(window, device="cpu")
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    row_distance = rows[:, None] - rows[None, :] + window - 1
    column_distance = columns[:, None] - columns[None, :] + window - 1
    return row_distance * (2 * window - 1) + column_distance


class WindowAttention(nn.Module):
    """Multi-head self-attention inside square windows, with a learned bias per relative position.

    Args:
        channels: width of a token, a multiple of `heads`.
        heads: number of attention heads.
        window: side of a window in tokens.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = Linear(channels, 3 * channels)
        self.proj = Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def position_bias(self) -> Tensor:
        """Return (heads, window², window²): what is added to the scaled scores of every window."""
        tokens = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.view(tokens, tokens, self.heads).permute(2, 0, 1).contiguous()

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Mix the values of whole windows, (windows * window², channels); `proj` of it is left to the caller.

        `bias` is (heads, window², window²).
        """
        return self.mix(self.qkv(tokens), bias)

    def mix(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Do what `forward` does with the queries, keys and values of the tokens, (windows * window², 3 * channels)."""
        count, channels = self.window**2, qkv.shape[-1] // 3
        by_head = qkv.view(-1, count, 3, self.heads, channels // self.heads)
        query, key, value = by_head.permute(2, 0, 3, 1, 4).unbind(0)
        if bias.requires_grad and bias.device.type == "cpu":
            # For a mask that is trained, torch has no fused kernel on a CPU, and looks for rows that see nothing.
            scores: Tensor = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1) + bias
            mixed: Tensor = scores.softmax(dim=-1) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.unsqueeze(0))
        return mixed.transpose(1, 2).reshape(-1, channels)


class Mlp(nn.Module):
    """Two linear layers with a GELU (erf) between, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = Linear(channels, 4 * channels, activation="gelu")
        self.fc2 = Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(self.fc1(tokens))
        return output


class BlockOperator(Protocol):
    """What a block computes, (B, H, W, channels) of its tokens in the same shape and dtype."""

    def __call__(self, block: SwinBlock, tokens: Tensor) -> Tensor: ...


class SwinBlock(nn.Module):
    """Attention in windows, shifted by half a window where `shifted`, and an MLP, both residual."""

    def __init__(self, channels: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        # In place of its own: see `set_block_operator`.
        self.operator: BlockOperator | None = None
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, channels) to the same shape."""
        if self.operator is not None:
            return self.operator(self, tokens)
        flat = tokens.reshape(-1, tokens.shape[-1])
        # What is made of tokens is four times as wide: of some at a time, it stays in a processor's caches.
        budget = CPU_CHUNK_ELEMENTS if tokens.device.type == "cpu" else GPU_CHUNK_ELEMENTS
        windows = max(1, budget // (flat.shape[1] * self.window**2))
        flat = flat + self._attend(flat, tokens.shape[:3], windows)
        chunks = torch.split(flat, windows * self.window**2)
        if torch.is_grad_enabled() or len(chunks) == 1:
            flat = flat + self.mlp(self.norm2(flat))
        else:
            for chunk in chunks:
                chunk += self.mlp(self.norm2(chunk))
        return flat.view(tokens.shape)

    def _attend(self, flat: Tensor, shape: Sequence[int], windows: int) -> Tensor:
        batch, height, width = shape
        place = (batch, height, width, self.window, self.shift, windows, flat.device)
        plan = kept(self, place, lambda: plan_windows(*place))
        masked = self.masked_bias()
        mixed = []
        for group in plan.groups:
            gathered = self.norm1(F.embedding(group.source, flat))
            if group.padding is not None:
                gathered.index_fill_(0, group.padding, 0)
            mixed.append(self.attn(gathered, masked[group.below, group.right]))
        together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        attended: Tensor = self.attn.proj(F.embedding(plan.back, together))
        return attended

    def masked_bias(self) -> dict[tuple[bool, bool], Tensor]:
        """Return what is added to the scores of windows, by whether they join what lay apart below, and on the right.

        Each is (heads, window², window²): the bias, and the mask of a shifted map with it.
        """
        return kept(self, "masked", self._masked)

    def _masked(self) -> dict[tuple[bool, bool], Tensor]:
        bias = self.attn.position_bias()
        masked = {(False, False): bias}
        if self.shift:
            from_top = torch.zeros(self.window, self.window, dtype=torch.bool, device=bias.device)
            from_top[-self.shift :] = True
            below = self._mask(from_top.flatten(), bias)
            right = self._mask(from_top.T.flatten(), bias)
            masked |= {(True, False): bias + below, (False, True): bias + right, (True, True): bias + below + right}
        return masked

    @staticmethod
    def _mask(wrapped: Tensor, like: Tensor) -> Tensor:
        separate = wrapped[:, None] != wrapped[None, :]
        return torch.zeros_like(like[0]).masked_fill_(separate, float("-inf"))


class PatchMerging(nn.Module):
    """Halve a map: concatenate each 2x2 square of tokens, normalise, project to twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, channels) to (B, ceil(H/2), ceil(W/2), 2*channels)."""
        _, height, width, _ = tokens.shape
        if height % 2 or width % 2:
            tokens = F.pad(tokens, (0, 0, 0, width % 2, 0, height % 2))
        squares = [tokens[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        output: Tensor = self.reduction(self.norm(torch.cat(squares, dim=-1)))
        return output


class SwinStage(nn.Module):
    """Some blocks, every second one shifted, and the merging that leads to the next stage."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, shifted=index % 2 == 1) for index in range(depth)
        )
        self.downsample = PatchMerging(channels) if merges else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, channels) to the same shape; merging is left to the caller."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PatchEmbed(nn.Module):
    """Cut an image into 4x4 patches and project each to a normalised token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, ceil(H/4), ceil(W/4), channels)."""
        height, width = image.shape[2:]
        if height % 4 or width % 4:
            image = F.pad(image, (0, -width % 4, 0, -height % 4))
        output: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return output


class SwinTransformer(nn.Module):
    """Swin v1 that gives the normalised map of each of its four stages.

    Args:
        embed: channels of the first stage; each stage doubles them.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of an attention window in tokens.
    """

    def __init__(self, embed: int, depths: Sequence[int], heads: Sequence[int], window: int) -> None:
        super().__init__()
        widths = [embed << stage for stage in range(len(depths))]
        self.patch_embed = PatchEmbed(embed)
        self.layers = nn.ModuleList(
            SwinStage(width, depth, count, window, merges=width != widths[-1])
            for width, depth, count in zip(widths, depths, heads, strict=True)
        )
        for stage, width in enumerate(widths):
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to maps at 1/4, 1/8, 1/16 and 1/32, each (B, channels, height, width)."""
        tokens = self.patch_embed(image)
        maps = []
        for index, stage in enumerate(self.layers):
            tokens = stage(tokens)
            maps.append(self.get_submodule(f"norm{index}")(tokens).permute(0, 3, 1, 2))
            merge = cast(SwinStage, stage).downsample
            if merge is not None:
                tokens = merge(tokens)
        return maps


def set_block_operator(network: nn.Module, operator: BlockOperator | None) -> None:
    """Let every block of an encoder inside `network` compute with `operator`, or by itself."""
    for module in network.modules():
        if isinstance(module, SwinBlock):
            module.operator = operator
