"""An ONNX file run by ONNX Runtime on the CPU, compared with the network run by torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, load_network

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
FP32_LOGITS = 2e-4
FP32_MATTE = 1e-5
HALF_MATTE = 1 / 255
HALF_LOGITS = {"fp16": 0.01, "bf16": 0.04}


@dataclass(frozen=True)
class Difference:
    """How far an engine is from float32 torch on random images, over all their pixels."""

    logits_max: float
    logits_mean: float
    matte_max: float
    matte_mean: float
    largest_logit: float
    """Of torch's, whatever its sign."""

    def acceptable(self, precision: str) -> bool:
        """Whether it is what the precision promises.

        In fp32 every logit within 2e-4 of the largest one (of 1 where all are smaller), and the matte's mean error,
        which is what a user sees, at most 1e-5; in half precision the matte's mean error at most 1/255, and that of the
        logits at most 1 % of the largest one in fp16, 4 % in bf16: in noise a network sees no subject, and whatever
        sees none has its matte.

        The first is relative because a logit is a sum that both sides add up in an order of their own: each addition
        rounds to 24 bits of the partial sum, so that the error has the sum's scale (Higham, Accuracy and Stability of
        Numerical Algorithms, 2nd ed., section 4.2) and not that of the logit, which may be near zero.
        """
        if precision == "fp32":
            close = self.logits_max <= FP32_LOGITS * max(1.0, self.largest_logit)
            return close and self.matte_mean <= FP32_MATTE
        close = self.logits_mean <= HALF_LOGITS[precision] * max(1.0, self.largest_logit)
        return close and self.matte_mean <= HALF_MATTE

    def __str__(self) -> str:
        return (
            f"logits max {self.logits_max:.2e}, mean {self.logits_mean:.2e}; "
            f"matte max {self.matte_max:.2e}, mean {self.matte_mean:.2e}"
        )


def checked(
    path: Path,
    model: ModelSpec,
    weights: WeightsFile,
    size: tuple[int, int],
    precision: str,
    batch: int,
    form: DeformableForm,
) -> str:
    """Do `check_onnx` where it can be done; the differences, or why there are none, as a sentence.

    Raises:
        EngineError: the file is wrong.
    """
    if precision == "bf16":
        return "not checked: ONNX Runtime's CPU provider has no bf16"
    if find_spec("onnxruntime") is None:
        _log.warning(
            "%s in %s is not compared with torch: onnxruntime is not installed (pip install 'birefnet-batch[onnx]')",
            *(model.short_name, precision),
        )
        return "not checked: onnxruntime is not installed"
    return str(check_onnx(path, model, weights, *size, precision, batch, form))


def check_onnx(
    path: Path,
    model: ModelSpec,
    weights: WeightsFile,
    width: int,
    height: int,
    precision: str,
    batch: int = 2,
    form: DeformableForm = "native",
) -> Difference:
    """Run a file and the network on the same random images.

    Args:
        path: the ONNX file.
        model: the model.
        weights: its checkpoint.
        width: pixels.
        height: pixels.
        precision: of the file.
        batch: images at once; above one also shows that the batch is free.
        form: of deformable convolution in the file.

    Raises:
        EngineError: they differ by more than the precision allows, or ONNX Runtime cannot run the file.
    """
    import numpy as np
    import torch

    from birefnet_batch.engines.onnx_session import open_session

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, height, width, generator=generator)
    session = open_session(path, "cpu", form=form)
    (found,) = session.run(["logits"], {"image": images.numpy()})
    del session
    if precision == "fp16" and not np.isfinite(found).all():
        raise EngineError(
            f"The ONNX file of {model.name} at {width}x{height} in fp16 gives logits that are no finite numbers: "
            "values inside the network go beyond float16's 65504; give engine.precision=fp32 or bf16"
        )
    network = load_network(model, weights)
    with torch.inference_mode():
        # One by one: the memory of one image is enough.
        wanted = torch.cat([network(image[None]) for image in images])
    difference = compare(torch.from_numpy(found), wanted)
    if not difference.acceptable(precision):
        raise EngineError(
            f"The ONNX file of {model.name} at {width}x{height} in {precision} differs from torch: {difference}; "
            "it is not used; please report it"
        )
    return difference


def compare(found: torch.Tensor, wanted: torch.Tensor) -> Difference:
    """Differences of logits and of the mattes that they give."""
    logits = (found.float() - wanted.float()).abs()
    mattes = (found.float().sigmoid() - wanted.float().sigmoid()).abs()
    largest = float(wanted.abs().max())
    return Difference(float(logits.max()), float(logits.mean()), float(mattes.max()), float(mattes.mean()), largest)
