"""How far half precision moves a network's mattes, as measured, and the warning where that is too far to see past."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)

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


def warn_of_precision(what: str, precision: str, error: PrecisionError | None) -> None:
    """Log a warning if mattes in a precision are off by more than one 8-bit step on average.

    Args:
        what: the model or network that was measured.
        precision: fp16 or bf16.
        error: what was measured; None is taken for fine.
    """
    if error is None or error.mean <= WARNING_LIMIT:
        return
    _log.warning(
        "%s mattes of %s differ from fp32 by %.1f/255 on average and %.0f/255 at the 99.9th percentile; "
        "give engine.precision=fp32 for the checkpoint's own results",
        precision,
        what,
        255 * error.mean,
        255 * error.high,
    )
