"""A stored plan run on this machine's GPU, compared with the network run by torch in float32."""

from __future__ import annotations

import torch

from birefnet_batch.engines.base import EngineSpec
from birefnet_batch.engines.onnx_export.check import Difference, compare
from birefnet_batch.engines.store import EngineStore, Entry
from birefnet_batch.engines.tensorrt_engine import TensorRTEngine
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.process_tuning import exact_float32


def check_plan(entry: Entry, model: ModelSpec, weights: WeightsFile) -> Difference:
    """How far a plan is from torch on random images.

    Raises:
        EngineError: further than its precision allows, or it cannot be run.
    """
    artifact = entry.artifact
    width, height, batch = artifact["width"], artifact["height"], artifact["batch"]
    spec = EngineSpec(model.short_name, width, height, artifact["precision"], batch, "cuda")
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).cuda()
    store = EngineStore(entry.path.parent.parent)
    with TensorRTEngine(spec, model, weights, store, artifact["options"]["workspace_bytes"]) as engine:
        found = engine.infer(images)
    exact_float32()
    network = load_network(model, weights).cuda()
    with torch.inference_mode():
        wanted = torch.cat([network(image[None]) for image in images])
    difference = compare(found, wanted)
    # How far its kernels are from torch's in float32 has not been measured: fp32 is judged like half precision.
    if not difference.acceptable("fp16"):
        raise EngineError(f"the plan {entry.path} differs from torch: {difference}")
    return difference
