"""The executor interface refuses misuse when a class is made."""

from __future__ import annotations

import pytest

from birefnet_batch.executors.base import Executor


def test_an_executor_without_a_name_is_refused_with_the_fix() -> None:
    with pytest.raises(TypeError, match="set the class attribute `name`"):
        type("Nameless", (Executor,), {})
