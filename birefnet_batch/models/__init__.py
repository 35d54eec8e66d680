"""The BiRefNet models: which there are, their weights and the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from birefnet_batch.models.birefnet import BiRefNet


def build_network(name: str) -> BiRefNet:
    """Return the network called `name` with untrained weights, in training mode.

    Args:
        name: `swin_v1_l`, `swin_v1_t` or `demo`.

    Raises:
        ValueError: there is no such network.
    """
    # The registry beside this function is read by processes that never need torch.
    from birefnet_batch.models.birefnet import build_network as build

    return build(name)
