"""What a tensor of TensorRT may hold, in frames."""

from __future__ import annotations

from birefnet_batch.models.registry import ModelSpec

USUAL_BATCH = 4
"""Frames a batch on a GPU unless told otherwise."""
_NUMBERS = 2**31 - 1
# `NetworkConfig.last_inner`, without an import of the network, which the opening of a plan does not need.
_CHANNELS = {"swin_v1_l": 64, "swin_v1_t": 64, "demo": 8}
_TAPS = 7 * 7


def largest_batch(model: ModelSpec, size: tuple[int, int]) -> int:
    """The most frames of a batch that TensorRT takes; 0 where not even one fits.

    Its GridSample reads, places and gives at most 2^31-1 numbers (TensorRT's operator reference, "Volume Limits"). The
    largest tensor of our graph is what the 7x7 deformable convolution samples at a quarter of the resolution:
    channels x taps x pixels.

    Args:
        model: the model.
        size: (width, height) in pixels.
    """
    width, height = size
    return _NUMBERS // (_CHANNELS[model.network] * _TAPS * (width // 4) * (height // 4))


def usual_batch(model: ModelSpec, size: tuple[int, int]) -> int:
    """The frames of a plan's batch unless told otherwise: as many as on a GPU, or what fits of them, at least one.

    Args:
        model: the model.
        size: (width, height) in pixels.
    """
    return max(1, min(USUAL_BATCH, largest_batch(model, size)))
