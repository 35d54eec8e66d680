"""A stored plan run on this machine's GPU, compared with the network run by torch in float32."""

from __future__ import annotations

import torch

from birefnet_batch.engines.onnx_export.check import Difference, compare
from birefnet_batch.engines.plan_runner import PlanRunner
from birefnet_batch.engines.store import Entry
from birefnet_batch.engines.tensorrt_module import TensorRT
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.process_tuning import exact_float32


def check_plan(entry: Entry, library: TensorRT, model: ModelSpec, weights: WeightsFile) -> Difference:
    """How far a plan is from torch on random images.

    Args:
        entry: the plan, of this library and this GPU.
        library: runs it.
        model: what it is of.
        weights: its checkpoint.

    Raises:
        EngineError: further than its precision allows, or it cannot be run.
    """
    artifact = entry.artifact
    width, height, batch = artifact["width"], artifact["height"], artifact["batch"]
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).cuda()
    found = PlanRunner(library, entry.path, (batch, 3, height, width))(images)
    exact_float32()
    network = load_network(model, weights).cuda()
    with torch.inference_mode():
        wanted = torch.cat([network(image[None]) for image in images])
    difference = compare(found, wanted)
    # How far its kernels are from torch's in float32 has not been measured: fp32 is judged like half precision.
    if not difference.acceptable("fp16"):
        raise EngineError(f"the plan {entry.path} differs from torch: {difference}")
    return difference
