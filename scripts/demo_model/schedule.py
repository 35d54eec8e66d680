"""What is trained on, and how fast, at each part of the training's time."""

from __future__ import annotations

import math

PEAK_RATE = 1.5e-3
RESTART = 0.6  # of the time: from here on a second, lower cosine, on large pictures
RESTART_RATE = 4e-4
WARM_UP = 100
FROZEN_FROM = 0.48  # of the time: from here on batch normalisations keep their statistics


def side_at(done: float, draw: float) -> int:
    """Return the side to train at when a share `done` of the time is over; `draw` is uniform in [0, 1)."""
    if done < 0.34:
        shares = ((128, 0.55), (160, 0.3), (256, 0.15))
    elif done < FROZEN_FROM:
        shares = ((160, 0.15), (256, 0.75), (384, 0.1))
    elif done < RESTART:
        shares = ((256, 0.4), (384, 0.4), (512, 0.2))
    elif done < 0.85:
        shares = ((160, 0.2), (256, 0.5), (384, 0.2), (512, 0.1))
    else:
        shares = ((256, 0.4), (384, 0.35), (512, 0.25))
    for side, share in shares:
        draw -= share
        if draw < 0:
            return side
    return shares[-1][0]


def restyled_at(done: float) -> float:
    """Return the share of composites whose subjects get other colours and surfaces than their own.

    Many at first, so that shapes are not known by their palette; few later, when the real thing counts.
    """
    if done < 0.3:
        return 1.0
    return 0.35 if done < RESTART else 0.2


def patterns_at(done: float) -> float:
    """Return the share of backgrounds that are computed patterns, not photographs.

    Many at first, of which there are more than photographs; few later, when the real thing counts.
    """
    return 0.28 if done < RESTART else 0.12


def rate_at(done: float, step: int) -> float:
    """Return the learning rate: warm-up by steps, then two cosines over the time budget."""
    peak, over = (PEAK_RATE, done / RESTART) if done < RESTART else (RESTART_RATE, (done - RESTART) / (1 - RESTART))
    return peak * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(over, 1.0))))
