"""A stored plan run on this machine's GPU, compared with the network run by torch in float32."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch

from birefnet_batch.engines.onnx_export.check import Difference, compare
from birefnet_batch.engines.plan_runner import PlanRunner
from birefnet_batch.engines.tensorrt_module import TensorRT
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.process_tuning import exact_float32


def check_plan(
    plan: Path,
    library: TensorRT,
    model: ModelSpec,
    weights: WeightsFile,
    size: tuple[int, int],
    batch: int,
    precision: str,
    graph: bool = True,
) -> Difference:
    """How far a plan is from torch on random images.

    Args:
        plan: its file; of this library and this GPU.
        library: runs it.
        model: what it is of.
        weights: its checkpoint.
        size: (width, height) in pixels.
        batch: frames that it runs at once.
        precision: fp32, fp16 or bf16.
        graph: launch it as a CUDA graph.

    Raises:
        EngineError: further than its precision allows, or it cannot be run.
    """
    width, height = size
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).cuda()
    with closing(PlanRunner(library, plan, (batch, 3, height, width), graph)) as runner:
        found = runner(images)
    # Its memory is torch's now.
    del runner
    exact_float32()
    network = load_network(model, weights).cuda()
    with torch.inference_mode():
        wanted = torch.cat([network(image[None]) for image in images])
    difference = compare(found, wanted)
    # How far its kernels are from torch's in float32 has not been measured: fp32 is judged like half precision.
    if not difference.acceptable("fp16" if precision == "fp32" else precision):
        raise EngineError(
            f"the plan of {model.name} at {width}x{height} in {precision} differs from torch: {difference}; it is not "
            f"to be used: give another engine.precision or engine=torch, and please report it with {library.name}'s "
            f"version, {library.version}"
        )
    return difference
