"""The torch engine runs the model it was given, and says what it ran on."""

from __future__ import annotations

import pytest
import torch

from birefnet_batch.engines import Engine, open_engine, resolve_precision
from birefnet_batch.errors import EngineError
from birefnet_batch.matting import frames_to_input, logits_to_matte
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import load_network, locate_weights

DEMO = find_model("demo")


def engine_of(**changes):
    settings = {"width": 96, "height": 64, "device": "cpu", "threads": 1, **changes}
    return open_engine("torch", model=DEMO, weights=locate_weights(DEMO), **settings)


def test_logits_are_the_networks():
    images = torch.randn(1, 3, 64, 96)
    with engine_of() as engine, torch.inference_mode():
        torch.testing.assert_close(
            engine.infer(images), load_network(DEMO, locate_weights(DEMO))(images), atol=1e-4, rtol=1e-4
        )


def test_logits_repeat_bit_for_bit_in_another_engine_too():
    images = torch.randn(3, 3, 64, 96)
    with engine_of(batch_size=3) as engine:
        together = engine.infer(images)
        again = engine.infer(images)
    with engine_of(batch_size=3) as another:
        assert torch.equal(another.infer(images), together)
    assert torch.equal(again, together)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_frame_gets_the_same_matte_bit_for_bit_wherever_it_is_in_the_batch(precision, threads):
    frames = torch.randint(0, 256, (3, 45, 71, 3), dtype=torch.uint8)

    def mattes(engine: Engine, frames: torch.Tensor) -> torch.Tensor:
        return logits_to_matte(engine.infer(frames_to_input(frames, 96, 64)), 71, 45)

    with engine_of(batch_size=3, precision=precision, threads=threads) as engine:
        together = mattes(engine, frames)
        assert torch.equal(mattes(engine, frames[[2, 0, 1]]), together[[2, 0, 1]])
        for index in range(3):
            assert torch.equal(mattes(engine, frames[index : index + 1]), together[index : index + 1])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_frames_that_no_camera_takes_give_finite_mattes(precision):
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (45, 71, 3), dtype=torch.uint8, generator=draw)
    frames = torch.stack((torch.zeros_like(noise), torch.full_like(noise, 255), noise, noise // 128 * 255))
    with engine_of(batch_size=4, precision=precision) as engine:
        logits = engine.infer(frames_to_input(frames, 96, 64))
    assert logits.isfinite().all()
    matte = logits_to_matte(logits, 71, 45)
    assert matte.min() >= 0
    assert matte.max() <= 1


def test_half_precision_stays_near_single():
    images = torch.randn(1, 3, 64, 96)
    with engine_of() as single, engine_of(precision="bf16") as half:
        difference = (single.infer(images).sigmoid() - half.infer(images).sigmoid()).abs()
    assert half.describe()["precision"] == "bf16"
    assert difference.mean() < 0.03


def test_the_record_says_what_ran():
    with engine_of(batch_size=2) as engine:
        described = engine.describe()
    assert described["family"] == "torch"
    assert described["version"] == torch.__version__
    assert (described["width"], described["height"], described["batch_size"]) == (96, 64, 2)
    assert described["threads"] == 1


def test_an_unknown_engine_is_named_with_those_there_are():
    with pytest.raises(EngineError, match="engine.name=openvino is not known; give auto or torch"):
        open_engine("openvino", model=DEMO, weights=locate_weights(DEMO), width=64, height=64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_refused_not_replaced():
    with pytest.raises(
        EngineError, match=r"engine.device=cuda was asked for, but .*give engine.device=cpu, .*install 'torch>="
    ):
        engine_of(device="cuda")


def test_precision_follows_the_device_unless_it_is_given():
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_with_the_processor():
    images = torch.randn(2, 3, 64, 96)
    with engine_of(batch_size=2) as here, engine_of(batch_size=2, device="cuda", precision="fp32") as there:
        torch.testing.assert_close(here.infer(images), there.infer(images.cuda()).cpu(), atol=5e-3, rtol=1e-3)
