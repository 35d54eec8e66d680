"""The network computes what the official implementation does, and holds the tensors that checkpoints hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from plain_birefnet import PlainBiRefNet
from reference import REFERENCE
from reference.fill import fill, golden_input
from torch import nn

from birefnet_batch.models import build_network, deformable, swin
from birefnet_batch.models.birefnet import BiRefNet

CASES = [
    pytest.param("swin_v1_t", (1, 256, 256), id="light"),
    pytest.param("swin_v1_t", (2, 320, 448), id="a batch of wide frames"),
    pytest.param("swin_v1_l", (1, 256, 256), id="large", marks=pytest.mark.slow),
]


def fill_in(network: nn.Module, seed: int = 7) -> None:
    state = network.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = torch.from_numpy(fill(key, tuple(value.shape), seed))
    network.load_state_dict(state)
    network.eval()


def filled(name: str, seed: int = 7) -> BiRefNet:
    network = build_network(name)
    fill_in(network, seed)
    return network


@pytest.mark.parametrize("name", ["swin_v1_t", "swin_v1_l"])
def test_tensors_are_named_shaped_and_ordered_as_in_published_checkpoints(name):
    wanted = json.loads((REFERENCE / f"{name}.state_dict.json").read_text())
    state = build_network(name).state_dict()
    found = {
        key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        for key, value in state.items()
    }
    assert list(found) == list(wanted)
    assert found == wanted


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_logits_match_the_official_implementation(name, shape):
    case = f"{name}_s7_{'x'.join(map(str, shape))}"
    wanted = np.load(REFERENCE / f"{case}.npy")
    statistics = json.loads((REFERENCE / "activations.json").read_text())[case]
    network = filled(name)
    seen: dict[str, torch.Tensor] = {}

    def keep(label: str):
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            seen[label] = output

        return hook

    network.squeeze_module[0].register_forward_hook(keep("squeeze"))
    for stage in (4, 3, 2):
        network.decoder.get_submodule(f"decoder_block{stage}").register_forward_hook(keep(f"decoder_block{stage}"))
    with torch.inference_mode():
        logits = network(torch.from_numpy(golden_input(*shape))).numpy()

    assert seen.keys() == {"squeeze", "decoder_block4", "decoder_block3", "decoder_block2"}
    for label, output in seen.items():
        mean, deviation, wanted_shape = statistics[label]
        assert list(output.shape) == wanted_shape, label
        assert output.mean().item() == pytest.approx(mean, abs=2e-5), label
        assert output.std().item() == pytest.approx(deviation, abs=2e-5), label
    assert logits.shape == wanted.shape
    assert np.abs(logits - wanted).max() <= 2e-4
    assert abs(float(logits.mean()) - float(wanted.mean())) <= 1e-5


@pytest.fixture(scope="module")
def fast_and_plain() -> tuple[BiRefNet, PlainBiRefNet]:
    plain = PlainBiRefNet("swin_v1_t")
    fill_in(plain, seed=11)
    fast = filled("swin_v1_t", seed=11)
    fast.prepare()
    return fast, plain


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 32, 32), id="the smallest"),
        pytest.param((1, 96, 160), id="landscape"),
        pytest.param((2, 224, 96), id="a batch of portraits"),
        pytest.param((1, 1440, 32), id="the height of 2K, a column wide"),
    ],
)
def test_any_sides_that_are_multiples_of_32_give_what_the_definition_gives(fast_and_plain, shape):
    fast, plain = fast_and_plain
    image = torch.from_numpy(golden_input(*shape, seed=3))
    with torch.inference_mode():
        found, wanted = fast(image), plain(image)  # fast is prepared, as engines do it
    assert found.shape == wanted.shape == (shape[0], 1, *shape[1:])
    assert (found - wanted).abs().max() <= 2e-4
    assert abs(found.mean() - wanted.mean()) <= 1e-5


def test_how_much_is_computed_at_once_changes_nothing_but_rounding(monkeypatch):
    network = filled("demo")
    image = torch.from_numpy(golden_input(2, 32, 96))
    with torch.inference_mode():
        wanted = network(image)
        for module in (swin, deformable):
            for elements in (1, module.GPU_CHUNK_ELEMENTS):
                monkeypatch.setattr(module, "CPU_CHUNK_ELEMENTS", elements)
                torch.testing.assert_close(network(image), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_preparing_changes_nothing_but_rounding(dtype):
    network = filled("demo").to(dtype)
    image = torch.from_numpy(golden_input(2, 96, 160)).to(dtype)
    with torch.inference_mode():
        wanted = network(image)
        network.prepare()
        found = network(image)
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.sigmoid(), wanted.sigmoid(), atol=tolerance, rtol=tolerance)


def test_a_network_in_training_cannot_be_prepared():
    with pytest.raises(ValueError, match="eval mode; call eval\\(\\) first"):
        build_network("demo").prepare()


def test_folding_the_norms_and_the_head_changes_nothing_but_rounding():
    torch.manual_seed(0)
    network = filled("demo")
    image = torch.from_numpy(golden_input(2, 96, 160))
    with torch.inference_mode():
        folded = network(image)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Training mode with momentum 0 would use the batch's statistics: these stand in for the running ones.
            module.forward = _with_running_statistics(module)
            module.training = True
    with torch.inference_mode():
        plain = network(image)
    torch.testing.assert_close(folded, plain, atol=2e-4, rtol=1e-4)


def _with_running_statistics(norm: nn.BatchNorm2d):
    def forward(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
        )

    return forward


def test_a_frame_gets_the_same_logits_in_any_batch():
    network = filled("demo")
    images = torch.from_numpy(golden_input(3, 64, 128))
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_training_heads_leave_the_logits_as_they_are():
    network = filled("demo")
    image = torch.from_numpy(golden_input(1, 64, 96))
    with torch.inference_mode():
        logits, auxiliary = network.forward_with_auxiliary(image)
        torch.testing.assert_close(logits, network(image))
    assert [tuple(mask.shape) for mask in auxiliary.masks] == [(1, 1, 2, 3), (1, 1, 4, 6), (1, 1, 8, 12)]
    assert [tuple(edge.shape) for edge in auxiliary.gradients] == [(1, 1, 2, 3), (1, 1, 4, 6), (1, 1, 8, 12)]


def test_attention_is_the_same_whether_it_is_trained_or_run():
    attention = swin.WindowAttention(channels=16, heads=2, window=4)
    bias = attention.position_bias() * 30
    bias = bias.masked_fill(torch.rand(16, 16) < 0.3, float("-inf"))
    tokens = torch.randn(3 * 16, 16)
    trained = attention(tokens, bias)
    assert trained.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(attention(tokens, bias.detach()), trained.detach())


def test_every_weight_that_training_uses_gets_a_gradient():
    torch.manual_seed(0)
    network = build_network("demo").train()
    logits, auxiliary = network.forward_with_auxiliary(torch.randn(2, 3, 64, 64))
    loss = logits.square().mean()
    for output in (*auxiliary.masks, *auxiliary.gradients):
        loss = loss + output.square().mean()
    loss.backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 3, 100, 64), r"multiples of 32, not 64x100; the nearest above is 64x128"),
        ((1, 4, 64, 64), r"takes \(batch, 3, height, width\), not \(1, 4, 64, 64\)"),
        ((3, 64, 64), r"takes \(batch, 3, height, width\)"),
        ((0, 3, 64, 64), r"takes \(batch, 3, height, width\)"),
    ],
)
def test_an_input_of_another_shape_is_named(shape, said):
    with pytest.raises(ValueError, match=said):
        build_network("demo")(torch.zeros(shape))


def test_an_unknown_network_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="no network 'swin_v2'.*swin_v1_l, swin_v1_t, demo"):
        build_network("swin_v2")
