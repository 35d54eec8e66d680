"""The errors are what callers may name."""

from __future__ import annotations

import inspect

import pytest

import birefnet_batch
from birefnet_batch import errors


@pytest.mark.parametrize(
    "name", [name for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BaseException)]
)
def test_each_error_is_a_public_name(name: str) -> None:
    assert name in birefnet_batch.__all__
    assert getattr(birefnet_batch, name) is getattr(errors, name)
