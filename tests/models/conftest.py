"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hub_server import Hub, serve_hub

from birefnet_batch.models import build_network


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    """The demo network's state with random weights."""
    torch.manual_seed(3)
    return build_network("demo").state_dict()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on this machine, empty as yet."""
    with serve_hub() as running:
        yield running
