"""The engine interface refuses misuse and hides the batch."""

from __future__ import annotations

import pytest
import torch
from trivial import TrivialEngine

from birefnet_batch.engines import Engine
from birefnet_batch.errors import EngineError


def test_an_engine_without_a_family_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="Nameless has no family; set the class attribute `family`"):

        class Nameless(Engine):
            pass


def test_an_engine_that_is_not_open_says_how_to_open_it():
    engine = TrivialEngine()
    with pytest.raises(EngineError, match="not open; use it as `with engine:`"):
        engine.infer(torch.zeros(1, 3, 64, 64))


def test_it_closes_when_the_context_ends():
    engine = TrivialEngine()
    with engine:
        engine.infer(torch.zeros(1, 3, 64, 64))
    with pytest.raises(EngineError, match="not open"):
        engine.infer(torch.zeros(1, 3, 64, 64))


def test_a_partial_batch_runs_as_a_full_one_and_comes_back_partial():
    with TrivialEngine(batch_size=4) as engine:
        images = torch.rand(2, 3, 64, 64)
        logits = engine.infer(images)
    assert engine.batches == [4]
    assert torch.equal(logits, images[:, :1] * 10)


@pytest.mark.parametrize("shape", [(5, 3, 64, 64), (0, 3, 64, 64), (1, 3, 64, 32), (1, 1, 64, 64), (3, 64, 64)])
def test_images_of_another_shape_are_named(shape):
    with TrivialEngine(batch_size=4) as engine, pytest.raises(EngineError, match=r"takes \(1 to 4, 3, 64, 64\)"):
        engine.infer(torch.zeros(shape))
