"""A network on a GPU, ready for full batches of one shape: number format, memory layout, kernels, one graph a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from birefnet_batch.engines.cuda_graph import capture
from birefnet_batch.engines.plain_operations import go_without
from birefnet_batch.errors import EngineError
from birefnet_batch.models.deformable import (
    DeformableConv2d,
    ProjectedOperator,
    grid_sample_convolution,
    set_operator,
    weight_rows,
)
from birefnet_batch.models.swin import set_block_operator
from birefnet_batch.process_tuning import exact_float32

_MOST_COMPILED = 256
_ATTENTION = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


@dataclass(frozen=True)
class CudaOptions:
    """How torch runs a network on a GPU; `scripts/gpu_check` measures them one by one."""

    triton: bool = True
    """Deformable convolutions as one kernel each, where triton can be imported."""
    fused: bool = True
    """With triton's kernels, the encoder's tokens are gathered, added and normalised in one pass each; what is compiled
    has kernels of that kind by itself."""
    channels_last: bool = True
    """Maps are stored pixel by pixel in half precision, as tensor cores take them."""
    graph: bool = True
    """A batch is launched as one CUDA graph."""
    compile: bool = False
    """torch.compile: minutes at the first use on a machine."""
    any_attention: bool = False
    """torch may choose cuDNN's attention, which is made for longer rows of tokens and other masks than a window's."""


class CudaNetwork:
    """Runs a network on batches of one shape.

    Args:
        network: in eval mode on the device and in the dtype that it shall run in; it is changed.
        shape: (B, 3, H, W) of every batch.
        options: how.

    Raises:
        EngineError: it is to be compiled, and triton's kernels cannot be had; or it cannot be recorded.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int, int], options: CudaOptions) -> None:
        parameter = next(network.parameters())
        half = parameter.dtype != torch.float32
        self.channels_last = options.channels_last and half
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._attention = (*_ATTENTION, SDPBackend.CUDNN_ATTENTION) if options.any_attention else _ATTENTION
        self.triton = options.triton and _use_triton(network)
        # By the attention that a batch has.
        with sdpa_kernel([*self._attention]):
            self.fused = self.triton and options.fused and not options.compile and _use_fused_blocks(network)
        prepare = getattr(network, "prepare", None)
        if callable(prepare):
            prepare()
        if not half:
            exact_float32()
        self._image = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
        self._logits: Tensor | None = None
        self._network: Callable[[Tensor], Tensor] = network
        if options.compile:
            if not self.triton:
                raise EngineError(
                    "engine.compile=true needs triton's kernels, without which a network falls into dozens of pieces: "
                    "they cannot be had here, and the log says why; give engine.compile=false"
                )
            # Each engine of a process has code of its own; beyond the usual eight torch would run what is plain.
            torch._dynamo.config.recompile_limit = max(_MOST_COMPILED, torch._dynamo.config.recompile_limit)
            # What a prepared network keeps is made first: the compiler shall find constants.
            with torch.inference_mode():
                self._launch()
            self._network = torch.compile(network, dynamic=False)
        self._graph: torch.cuda.CUDAGraph | None = None
        if options.graph:
            with torch.inference_mode():
                self._graph = capture(self._launch)

    @property
    def graphed(self) -> bool:
        """Whether a batch is launched as one graph."""
        return self._graph is not None

    def __call__(self, images: Tensor) -> Tensor:
        """Map a batch of the shape, in any float dtype, to logits (B, 1, H, W)."""
        with torch.inference_mode():
            self._image.copy_(images)
            if self._graph is None:
                self._launch()
            else:
                self._graph.replay()
            assert self._logits is not None
            # A graph's memory is the next batch's.
            return self._logits.clone()

    def _launch(self) -> None:
        with sdpa_kernel([*self._attention]):
            self._logits = self._network(self._image)


def _use_triton(network: nn.Module) -> bool:
    """Let deformable convolutions be one kernel each; whether triton can do it."""
    try:
        from birefnet_batch.engines.triton_deformable import triton_convolution, triton_projection

        # At its first launch triton needs a C compiler and Python's headers, and each kernel so much of the GPU's
        # memory; of maps like these it is compiled once for all whose sides are multiples of 16.
        weights = [module.regular_conv.weight for module in network.modules() if isinstance(module, DeformableConv2d)]
        _require_tensor_cores(weights[0])
        for weight in {tuple(weight.shape): weight for weight in weights}.values():
            _compare(triton_projection, weight.detach())
    except Exception as error:
        go_without("deformable convolutions", error)
        return False
    set_operator(network, triton_convolution, triton_projection)
    return True


def _use_fused_blocks(network: nn.Module) -> bool:
    """Let the encoder's blocks make fewer passes over their tokens; whether triton can do it."""
    try:
        from birefnet_batch.engines.fused_blocks import compare_blocks, fused_block

        compare_blocks(network)
    except Exception as error:
        go_without("passes over tokens", error)
        return False
    set_block_operator(network, fused_block)
    return True


def _require_tensor_cores(weight: Tensor) -> None:
    """Refuse a kernel that would be right and slower than plain operations.

    Raises:
        RuntimeError: triton multiplies in half precision without this GPU's tensor cores.
    """
    if weight.is_cuda and weight.dtype != torch.float32 and torch.cuda.get_device_capability(weight.device) < (8, 0):
        raise RuntimeError("below compute capability 8.0 triton does not use tensor cores")


def _compare(projector: ProjectedOperator, weight: Tensor) -> None:
    """Hold its result on small maps beside that of plain operations: compilers are wrong on some cards.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    generator, (outputs, channels, side, _) = torch.Generator().manual_seed(0), weight.shape
    taps = side**2
    image, offset, modulation = (
        torch.randn(2, depth, 16, 16, generator=generator).to(weight.device, weight.dtype)
        for depth in (channels, 2 * taps, taps)
    )
    head, total = (
        torch.randn(rows, columns, generator=generator).to(weight.device, weight.dtype)
        for rows, columns in ((channels, outputs), (2 * 16 * 16, channels))
    )
    plan = (2 * offset, modulation.sigmoid())
    bias = torch.randn(outputs, generator=generator).to(weight.device, weight.dtype)
    wanted = grid_sample_convolution(*(value.float() for value in (image, *plan, weight, bias)))
    wanted = total.float() + wanted.permute(0, 2, 3, 1).reshape(-1, outputs).relu() @ head.float().T
    projector(total, image, *plan, weight_rows(weight).T.contiguous(), bias, head)
    # Half precision rounds to 3 % of the largest. A comparison with what is no number is false.
    if not (total.float() - wanted).abs().max() <= 0.05 * wanted.abs().max():
        raise RuntimeError("what it computes is wrong")
