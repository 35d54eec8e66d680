"""How far half precision moves one checkpoint's mattes: measured once on two pictures, kept in the engine store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.engines.measured_once import measured_once
from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.models.precision import PrecisionError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network
from birefnet_batch.process_tuning import exact_float32

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
_SIDE = 256
_PICTURES = 2


def measured_error(
    root: Path | None, model: ModelSpec, weights: WeightsFile, precision: str, device: str
) -> PrecisionError | None:
    """Return how much mattes of a checkpoint in fp16 or bf16 differ from fp32, run by torch at 256x256.

    Args:
        root: the engine store's folder; None where there is no place for one, and nothing is kept.
        model: the model.
        weights: its checkpoint; the result is kept by its digest.
        precision: fp16 or bf16.
        device: cpu or cuda; where it is measured.

    Returns:
        None where there is not enough memory to measure it.

    Raises:
        WeightsError: the checkpoint does not fit the network.
    """
    if root is None:
        return _fitting(model, weights, precision, device)
    try:
        return _kept(root, model, weights, precision, device)
    except OSError as error:
        # A store that cannot be written is no reason to do without torch, which needs none.
        _log.info("%s of %s is measured and not kept: %s", precision, model.short_name, error)
        return _fitting(model, weights, precision, device)


def _kept(root: Path, model: ModelSpec, weights: WeightsFile, precision: str, device: str) -> PrecisionError | None:
    def measure() -> dict[str, float] | None:
        found = _fitting(model, weights, precision, device)
        return None if found is None else asdict(found)

    name = f"{model.network}-{weights.sha256[:32]}-{precision}-{device}"
    what = f"{precision} of {model.short_name}"
    return measured_once(root, "precision", name, what, _read, measure)


def _read(facts: Mapping[str, Any]) -> PrecisionError:
    error = PrecisionError(**facts)
    # NaN was measured: of a network whose values go beyond float16's.
    if any(type(value) not in (int, float) or value < 0 or value > 1 for value in facts.values()):
        raise ValueError(f"{facts} are no differences of mattes")
    return error


def precision_error(found: torch.Tensor, wanted: torch.Tensor) -> PrecisionError:
    """Differences of mattes in [0, 1], of any one shape, from those in float32."""
    errors = (found - wanted).abs().flatten().double()
    high = errors.kthvalue(max(1, round(0.999 * len(errors)))).values
    return PrecisionError(float(errors.mean()), float(high))


def _fitting(model: ModelSpec, weights: WeightsFile, precision: str, device: str) -> PrecisionError | None:
    try:
        return _measure(model, weights, precision, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.warning("too little memory to compare %s of %s with fp32", precision, model.short_name)
        return None


def _measure(model: ModelSpec, weights: WeightsFile, precision: str, device: str) -> PrecisionError:
    import torch

    from birefnet_batch.engines.torch_engine import DTYPES
    from birefnet_batch.matting import frames_to_input

    exact_float32()
    inputs = [frames_to_input(picture.to(device), _SIDE, _SIDE) for picture in _pictures()]
    mattes = {}
    for name in ("fp32", precision):
        network = load_network(model, weights)
        network.to(device, DTYPES[name]).prepare()
        with torch.inference_mode():
            made = [network(image.to(DTYPES[name])).float().sigmoid().cpu() for image in inputs]
        mattes[name] = torch.cat(made)
        del network
    return precision_error(mattes[precision], mattes["fp32"])


def _pictures() -> Iterator[torch.Tensor]:
    """The first frames of two demo clips, each (1, H, W, 3) uint8."""
    import av
    import torch

    for clip in sorted(demo_clips().glob("*.mp4"))[:_PICTURES]:
        with av.open(str(clip)) as container:
            yield torch.from_numpy(next(container.decode(video=0)).to_ndarray(format="rgb24"))[None]
