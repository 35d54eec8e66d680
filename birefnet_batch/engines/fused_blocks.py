"""The encoder's blocks on a GPU, with fewer passes over their tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet_batch.engines.triton_tokens import add_normalised, gather_normalised
from birefnet_batch.models.kept import kept
from birefnet_batch.models.swin import GPU_CHUNK_ELEMENTS, Mlp, SwinBlock
from birefnet_batch.models.windows import plan_rows


def fused_block(block: SwinBlock, tokens: Tensor) -> Tensor:
    """Implement `BlockOperator`: the MLP's residual is added by its second product. Without gradients."""
    channels = tokens.shape[-1]
    flat = tokens.reshape(-1, channels)
    batch, height, width = tokens.shape[:3]
    place = (batch, height, width, block.window, block.shift, flat.device)
    rows = kept(block, ("rows", *place), lambda: plan_rows(*place))
    masked = block.masked_bias()
    qkv = block.attn.qkv(gather_normalised(flat, rows.source, block.norm1))
    shares = torch.split(qkv, [count for count, _, _ in rows.groups])
    mixed = [
        block.attn.mix(share, masked[below, right])
        for share, (_, below, right) in zip(shares, rows.groups, strict=True)
    ]
    projected = block.attn.proj(mixed[0] if len(mixed) == 1 else torch.cat(mixed))
    last = block.mlp.fc2
    total, normalised = add_normalised(flat, projected, rows.back, block.norm2, last.bias)
    # The hidden layer is four times as wide: of some tokens at a time, it stays within bounds.
    limit = max(1, GPU_CHUNK_ELEMENTS // channels)
    for chunk, its_input in zip(torch.split(total, limit), torch.split(normalised, limit), strict=True):
        chunk.addmm_(_hidden_layer(block.mlp, its_input), last.weight.T)
    return total.view(tokens.shape)


def _hidden_layer(mlp: Mlp, tokens: Tensor) -> Tensor:
    if tokens.dtype == torch.float32:
        hidden: Tensor = mlp.fc1(tokens)
        return hidden
    # GELU by its tanh, which cuBLAS computes before it writes the product: it moves logits by a tenth of what half
    # precision does, and saves a pass over the widest layer.
    return torch._addmm_activation(mlp.fc1.bias, tokens, mlp.fc1.weight.T, use_gelu=True)


def compare_blocks(network: nn.Module) -> None:
    """Hold `fused_block` on small maps beside what the network's blocks compute by themselves, in each width.

    Raises:
        RuntimeError: they differ by more than rounding.
        Exception: whatever triton raises where it cannot make a kernel.
    """
    shifted = [module for module in network.modules() if isinstance(module, SwinBlock) and module.shift]
    generator = torch.Generator().manual_seed(0)
    for channels, block in {module.norm1.weight.shape[0]: module for module in shifted}.items():
        weight = block.norm1.weight
        # Larger than a window both ways, and filled up: each mask and padding. The tokens of networks are multiples of
        # 16, too, and triton compiles others apart.
        shape = (8, block.window + 2, 2 * block.window, channels)
        tokens = torch.randn(shape, generator=generator).to(weight.device, weight.dtype)
        with torch.inference_mode():
            found, wanted = fused_block(block, tokens).float(), block(tokens).float()
        # Channel by channel, for some of large networks are a hundred times as large as others. Half precision is off
        # by half a percent. A comparison with what is no number is false.
        off, size = ((value.flatten(0, 2)).norm(dim=0) for value in (found - wanted, wanted))
        if not (off <= 0.02 * size).all():
            raise RuntimeError("what it computes is wrong")
