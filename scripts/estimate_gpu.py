"""What the network takes of a card by its arithmetic and its traffic: a reckoning, for where no GPU can be measured.

    .venv/bin/python scripts/estimate_gpu.py [--network swin_v1_l] [--size 1024] [--batch 4] [--precision fp16]
                     [--tflops 590] [--terabytes 2.7] [--launch 2] [--frame 1920x1080] [--top 12]

The forward pass of each form runs on tensors without memory, and every operation that is not a view is a kernel:
it takes the longer of its arithmetic and of what it reads and writes once, and the launch. Forms: the plain network;
the prepared one with one kernel a deformable convolution; and the same with fused blocks. In gpu_check they are the
baseline, "all of it but fused blocks" and "all of it". The defaults are 60 % of an H100 SXM's 989 TFLOP/s in half
precision and 80 % of its 3.35 TB/s, which good kernels reach. A poor kernel takes longer, and what stays in a cache
less: the ratio of the forms, and where the time goes, are worth more than the frames a second.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from counts import amount, count, frame, side
from plain_birefnet import SIZES, PlainBiRefNet
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from birefnet_batch.engines.torch_engine import DTYPES
from birefnet_batch.matting.foreground import estimate_by_arrays
from birefnet_batch.models import build_network, swin
from birefnet_batch.models.deformable import deformable_convolution, set_operator

# Operations that only look at memory in another way, or take some.
_NO_KERNELS = frozenset(
    "view _unsafe_view reshape _reshape_alias permute transpose t numpy_T expand unsqueeze squeeze slice select split "
    "split_with_sizes chunk unbind as_strided alias detach empty new_empty empty_like lift_fresh".split()
)
_ours = torch.library.Library("estimate", "DEF")


def _stand_in(signature: str, make: Callable[..., Any]) -> Any:
    """An operation that is one kernel of a GPU, for tensors without memory."""
    name = signature.partition("(")[0]
    _ours.define(signature)
    _ours.impl(name, make, "Meta")
    return getattr(torch.ops.estimate, name)


_deform = _stand_in(
    "deform(Tensor total, Tensor x, Tensor offset, Tensor factor, Tensor rows, Tensor bias, Tensor head) -> Tensor",
    lambda total, *_: torch.empty_like(total),
)
_attend = _stand_in(
    "attend(Tensor query, Tensor key, Tensor value, Tensor mask) -> Tensor",
    # As torch's kernels lay it out.
    lambda query, _key, _value, _mask: torch.empty_like(query.transpose(1, 2).contiguous()).transpose(1, 2),
)
_gather = _stand_in(
    "gather_normalised(Tensor tokens, Tensor source) -> Tensor",
    lambda tokens, source: tokens.new_empty(len(source), tokens.shape[1]),
)
_add = _stand_in(
    "add_normalised(Tensor tokens, Tensor mixed, Tensor back) -> (Tensor, Tensor)",
    lambda tokens, _mixed, _back: (torch.empty_like(tokens), torch.empty_like(tokens)),
)


@dataclass
class Cost:
    """What all kernels of one operation take.

    Attributes:
        kernels: how many there are.
        flops: floating-point operations.
        bytes: read and written.
        seconds: on the card.
    """

    kernels: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


class Counting(TorchDispatchMode):
    """Adds up what the operations inside of it take, by their names."""

    def __init__(self, card: argparse.Namespace) -> None:
        super().__init__()
        self.card = card
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = named or {}
        result = operation(*arguments, **named)
        name = operation.__name__.partition(".")[0]
        # What is kept of the weights is made once, and on the processor.
        on_card = any(leaf.device.type == "meta" for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        if on_card and name.rstrip("_") not in _NO_KERNELS and name not in _NO_KERNELS:
            flops = _flops(name, operation, arguments, named, result)
            moved = _bytes(name, arguments, named, result)
            cost = self.costs[name]
            cost.kernels += 1
            cost.flops += flops
            cost.bytes += moved
            cost.seconds += 1e-6 * self.card.launch + max(
                flops / (1e12 * self.card.tflops), moved / (1e12 * self.card.terabytes)
            )
        return result


def _flops(name: str, operation: Any, arguments: tuple[Any, ...], named: dict[str, Any], result: Any) -> float:
    if name == "deform":
        total, rows, head = arguments[0], arguments[4], arguments[6]
        return 2.0 * len(total) * (rows.numel() + head.numel())
    if name == "attend":
        return 4.0 * arguments[0].numel() * arguments[1].shape[2]
    if name in ("addmm_", "_addmm_activation"):
        return 2.0 * arguments[1].numel() * arguments[2].shape[1]
    formula = flop_registry.get(operation._overloadpacket)
    return 0.0 if formula is None else float(formula(*arguments, **named, out_val=result))


def _bytes(name: str, arguments: tuple[Any, ...], named: dict[str, Any], result: Any) -> float:
    """Of a gather what it takes, not the whole of what it takes it from."""
    sizes = [leaf.numel() * leaf.element_size() for leaf in tree_leaves((arguments, named)) if isinstance(leaf, Tensor)]
    written = [leaf.numel() * leaf.element_size() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    if name == "embedding" or name == "gather_normalised":
        return sizes[1] + 2.0 * written[0]
    if name == "index_fill_":
        return sizes[1] + arguments[2].numel() * written[0] / max(1, arguments[0].shape[0])
    return float(sum(sizes) + sum(written))


@contextmanager
def _one_kernel_each() -> Iterator[None]:
    """Let stand-ins be what a GPU has one kernel for."""
    from birefnet_batch.engines import fused_blocks

    def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor) -> Tensor:
        attended: Tensor = _attend(query, key, value, attn_mask)
        return attended

    with (
        patch.object(F, "scaled_dot_product_attention", attention),
        patch.object(fused_blocks, "gather_normalised", lambda tokens, source, norm: _gather(tokens, source)),
        patch.object(fused_blocks, "add_normalised", lambda tokens, mixed, back, *_: _add(tokens, mixed, back)),
        # A GPU's chunks are as large as these.
        patch.object(swin, "CPU_CHUNK_ELEMENTS", swin.GPU_CHUNK_ELEMENTS),
    ):
        yield


def prepared(network: str, dtype: torch.dtype, fused: bool) -> nn.Module:
    """The network as an engine on a GPU prepares it, without memory, with or without fused blocks."""
    from birefnet_batch.engines.fused_blocks import fused_block

    built = build_network(network).eval().to("meta", dtype).to(memory_format=torch.channels_last)
    # The kernel reads planes, and copies what is laid out otherwise.
    set_operator(
        built,
        deformable_convolution,
        lambda total, x, offset, factor, *given: _deform(total, x, offset.contiguous(), factor.contiguous(), *given),
    )
    swin.set_block_operator(built, fused_block if fused else None)
    built.prepare()
    return built


def costs_of(network: nn.Module, image: Tensor, card: argparse.Namespace) -> dict[str, Cost]:
    """What a forward pass takes, by operation; what is kept of the weights is made in a first one, uncounted."""
    with torch.no_grad(), _one_kernel_each():
        network(image)
        with Counting(card) as counting:
            network(image)
    return dict(counting.costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="swin_v1_l", choices=("swin_v1_l", "swin_v1_t", "demo"))
    parser.add_argument("--size", type=side, default=1024)
    parser.add_argument("--batch", type=count, default=4)
    parser.add_argument("--precision", default="fp16", choices=DTYPES)
    parser.add_argument("--tflops", type=amount, default=590.0, help="reached by products")
    parser.add_argument("--terabytes", type=amount, default=2.7, help="a second, reached by memory")
    parser.add_argument("--launch", type=amount, default=2.0, help="microseconds between two kernels of a graph")
    parser.add_argument(
        "--frame",
        type=frame,
        default=(1920, 1080),
        help="WIDTHxHEIGHT whose foreground is estimated",
    )
    parser.add_argument("--top", type=count, default=12, help="rows a form")
    card = parser.parse_args()

    dtype = DTYPES[card.precision]
    image = torch.empty(card.batch, 3, card.size, card.size, dtype=dtype, device="meta")
    forms: dict[str, Callable[[], nn.Module]] = {
        "prepared, one kernel a deformable convolution": lambda: prepared(card.network, dtype, fused=False),
        "and fused blocks": lambda: prepared(card.network, dtype, fused=True),
    }
    if card.network in SIZES:
        forms = {"plain": lambda: PlainBiRefNet(card.network).eval().to("meta", dtype), **forms}
    first = 0.0
    for name, make in forms.items():
        costs = costs_of(make(), image, card)
        seconds = sum(cost.seconds for cost in costs.values()) / card.batch
        first = first or seconds
        print(f"\n{name}: {1e3 * seconds:.2f} ms a frame, {1 / seconds:.0f} frames/s, {first / seconds:.2f}x")
        show(costs, card.batch, card.top)
    width, height = card.frame
    with Counting(card) as counting:
        estimate_by_arrays(*(torch.empty(1, depth, height, width, device="meta") for depth in (3, 1)))
    print(f"\nforeground of {width}x{height} by operations on tensors, beside the network")
    show(dict(counting.costs), 1, 0)


def show(costs: dict[str, Cost], batch: int, top: int) -> None:
    """Print what the operations take a frame, those that take longest, and all of them."""
    print(f"{'operation':28}{'kernels':>9}{'GFLOP':>10}{'GB':>8}{'ms':>8}   a frame, kernels a batch")
    everything = ("all", Cost(*(sum(getattr(one, key) for one in costs.values()) for key in vars(Cost()))))
    by_time = sorted(costs.items(), key=lambda item: -item[1].seconds)
    for operation, cost in [*by_time[:top], everything]:
        each = (cost.flops / 1e9, cost.bytes / 1e9, 1e3 * cost.seconds)
        flops, moved, milliseconds = (value / batch for value in each)
        print(f"{operation:28}{cost.kernels:>9}{flops:>10.1f}{moved:>8.2f}{milliseconds:>8.3f}")


if __name__ == "__main__":
    main()
