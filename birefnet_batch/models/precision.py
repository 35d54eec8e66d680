"""How far half precision moves a network's mattes, as measured, and the warning where that is too far to see past."""

from __future__ import annotations

import math
from dataclasses import dataclass

# One step of an 8-bit matte.
WARNING_LIMIT = 1 / 255


@dataclass(frozen=True)
class PrecisionError:
    """Difference of mattes in [0, 1] from float32, over pictures.

    Attributes:
        mean: over all pixels.
        high: the 99.9th percentile.
    """

    mean: float
    high: float


def _steps(mean: float, high: float) -> PrecisionError:
    return PrecisionError(mean / 255, high / 255)


# By network and precision; what scripts/measure_precision.py printed (docs/models.md), in steps of 1/255.
MEASURED: dict[tuple[str, str], PrecisionError] = {
    ("demo", "bf16"): _steps(0.067, 6.66),
    ("demo", "fp16"): _steps(0.004, 0.36),
    ("swin_v1_t", "bf16"): _steps(0.249, 1.23),
    ("swin_v1_t", "fp16"): _steps(0.028, 0.15),
    ("swin_v1_l", "bf16"): _steps(0.141, 0.70),
    ("swin_v1_l", "fp16"): _steps(0.022, 0.10),
}


def precision_warning(what: str, precision: str, error: PrecisionError | None) -> str | None:
    """What a user should know of a precision whose mattes are off by more than one 8-bit step on average.

    Args:
        what: the model or network that was measured.
        precision: fp16 or bf16.
        error: what was measured; None is taken for fine.

    Returns:
        The sentence, for the log and the job's record; None where there is nothing to say.
    """
    if error is None or error.mean <= WARNING_LIMIT:
        return None
    if not math.isfinite(error.mean):
        other = "bf16 or fp32" if precision == "fp16" else "fp32"
        return (
            f"{precision} gives no finite matte of {what} on pictures of the demo clips; give engine.precision={other}"
        )
    return (
        f"{precision} mattes of {what} differ from fp32 by {255 * error.mean:.1f}/255 on average and "
        f"{255 * error.high:.0f}/255 at the 99.9th percentile; give engine.precision=fp32 for the checkpoint's own "
        "results"
    )
