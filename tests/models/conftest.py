"""What the tests of models share."""

from __future__ import annotations

import pytest
import torch

from birefnet_batch.models import build_network


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    """The demo network's state with random weights."""
    torch.manual_seed(3)
    return build_network("demo").state_dict()
