"""The ONNX files hold the published network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from filled import filled_arrays, filled_network
from reference import REFERENCE
from reference.fill import golden_input

from birefnet_batch.engines import onnx_session
from birefnet_batch.engines.onnx_export.check import check_onnx, compare
from birefnet_batch.engines.onnx_export.encoder import WindowPlan, region_masks
from birefnet_batch.engines.onnx_export.export import write_onnx
from birefnet_batch.engines.onnx_export.network import network_model
from birefnet_batch.engines.onnx_session import open_session
from birefnet_batch.errors import EngineError, WeightsError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, locate_weights

onnx = pytest.importorskip("onnx")
DEMO = find_model("demo")


def logits_of(model: Any, images: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (logits,) = open_session(path, "cpu", threads=2).run(["logits"], {"image": images})
    path.unlink()
    return logits


def filled_model(network: str, width: int, height: int, precision: str = "fp32", form: Any = "native") -> Any:
    return network_model(network, filled_arrays(network), width, height, precision, form, {})


@pytest.mark.parametrize(
    ("network", "shape", "form"),
    [
        pytest.param("swin_v1_t", (1, 256, 256), "native", id="light"),
        pytest.param("swin_v1_t", (2, 320, 448), "native", id="a batch of wide frames"),
        pytest.param("swin_v1_t", (1, 256, 256), "gridsample", id="light, decomposed"),
        pytest.param("swin_v1_l", (1, 256, 256), "native", id="large", marks=pytest.mark.slow),
    ],
)
def test_logits_through_onnx_runtime_match_the_official_implementation(network, shape, form, tmp_path):
    wanted = np.load(REFERENCE / f"{network}_s7_{'x'.join(map(str, shape))}.npy")
    model = filled_model(network, shape[2], shape[1], form=form)
    logits = logits_of(model, golden_input(*shape), tmp_path)
    assert logits.shape == wanted.shape
    assert np.abs(logits - wanted).max() <= 2e-4
    assert abs(float(logits.mean()) - float(wanted.mean())) <= 1e-5


@pytest.mark.parametrize("form", ["native", "gridsample"])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 160), (224, 224)])
def test_both_forms_match_torch_at_sides_that_windows_do_and_do_not_divide(form, width, height, tmp_path):
    images = golden_input(3, height, width)
    with torch.inference_mode():
        wanted = filled_network("demo")(torch.from_numpy(images))
    found = logits_of(filled_model("demo", width, height, form=form), images, tmp_path)
    assert compare(torch.from_numpy(found), wanted).logits_max <= 2e-4


@pytest.mark.parametrize("form", ["native", "gridsample"])
def test_a_half_model_keeps_softmax_positions_samples_and_logits_in_single_precision(form, tmp_path):
    model = filled_model("demo", 96, 64, "fp16", form)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    single = onnx.TensorProto.FLOAT
    seen = set()
    (last,) = (node for node in model.graph.node if model.graph.output[0].name in node.output)
    assert {kinds[name] for name in last.input if name in kinds} == {single}, "logits are summed in float32"
    for node in model.graph.node:
        if node.op_type == "LayerNormalization":
            stash = [item.i for item in node.attribute if item.name == "stash_type"]
            assert stash in ([], [single]), "statistics are float32's"
            seen.add(node.op_type)
        if node.op_type in ("Softmax", "GridSample"):
            assert {kinds[name] for name in (*node.input, *node.output)} == {single}
            seen.add(node.op_type)
        if node.op_type in ("Conv", "MatMul", "DeformConv"):
            assert kinds[node.output[0]] == onnx.TensorProto.FLOAT16
    assert seen == {"Softmax", "LayerNormalization", *(["GridSample"] if form == "gridsample" else [])}
    assert model.graph.output[0].type.tensor_type.elem_type == single
    images = golden_input(1, 64, 96)
    single_logits = logits_of(filled_model("demo", 96, 64, "fp32", form), images, tmp_path)
    half_logits = logits_of(model, images, tmp_path)
    assert compare(torch.from_numpy(half_logits), torch.from_numpy(single_logits)).matte_mean <= 1 / 255


@pytest.mark.parametrize("form", ["native", "gridsample"])
def test_a_bfloat16_model_is_valid_and_multiplies_in_bfloat16(form):
    model = filled_model("demo", 96, 64, "bf16", form)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    assert {"Conv", "MatMul", "Softmax"} <= {node.op_type for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul", "DeformConv"):
            assert kinds[node.output[0]] == onnx.TensorProto.BFLOAT16
        if node.op_type in ("Softmax", "GridSample"):
            assert {kinds[name] for name in (*node.input, *node.output)} == {onnx.TensorProto.FLOAT}


def test_windows_take_every_token_once_and_give_it_back_to_its_place():
    plan = WindowPlan.of(10, 13, window=4, shift=2)
    tokens = np.arange(130)
    padded = np.append(tokens, -1)[plan.into]
    assert sorted(padded[padded >= 0]) == list(range(130))
    assert padded.size == 12 * 16
    assert np.array_equal(padded[plan.back], tokens)
    assert plan.kinds.tolist() == [0, 0, 0, 2] * 2 + [1, 1, 1, 3]


def test_masks_keep_apart_what_a_shift_brought_together():
    none, below, right, both = region_masks(window=2, shift=1)[:, 0]
    assert not none.any()
    assert (below == -1e4).tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]] * 2
    assert (right == -1e4).tolist() == [[False, True, False, True], [True, False, True, False]] * 2
    assert (both == -1e4).sum() == 12


def test_the_rearrangements_of_a_fixed_resolution_are_few_nodes():
    # Traced node by node, the same network has some 2,200 nodes.
    assert len(filled_model("demo", 256, 256).graph.node) < 800


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_openvino_reads_is_the_network_in_operators_of_opset_19(precision, tmp_path):
    path = tmp_path / "model.onnx"
    weights = locate_weights(DEMO)
    facts = write_onnx(path, DEMO, weights, 96, 64, precision, "openvino")
    assert facts["birefnet_batch.deform_conv"] == "openvino"
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    assert [opset.version for opset in model.opset_import] == [19]
    modes = {item.s for node in model.graph.node if node.op_type == "GridSample" for item in node.attribute}
    assert b"bilinear" in modes
    assert b"linear" not in modes
    check_onnx(path, DEMO, weights, 96, 64, precision, form="openvino")
    with pytest.raises(EngineError, match="OpenVINO's form, .* has no bf16; give engine.precision=fp32 or fp16"):
        write_onnx(path, DEMO, weights, 96, 64, "bf16", "openvino")


def test_a_file_that_is_not_the_networks_is_refused(tmp_path):
    wrong = {**filled_arrays("demo")}
    name = "decoder.conv_out1.0.bias"
    wrong[name] = wrong[name] + 0.1
    path = tmp_path / "model.onnx"
    path.write_bytes(network_model("demo", wrong, 64, 64, "fp32", "native", {}).SerializeToString())
    with pytest.raises(EngineError, match=r"Demo at 64x64 in fp32 differs from torch: logits max .*it is not used"):
        check_onnx(path, DEMO, locate_weights(DEMO), 64, 64, "fp32")


def test_in_single_precision_logits_count_by_the_largest_and_the_matte_by_itself():
    wanted = torch.full((1, 1, 10, 10), 5.0)
    wanted[0, 0, 0, 0] = 1000.0
    assert compare(wanted + 1e-3, wanted).acceptable("fp32")
    assert not compare(wanted + 0.3, wanted).acceptable("fp32")
    near_zero = torch.where(wanted < 1000, 0.0, wanted)
    assert not compare(near_zero + 1e-3, near_zero).acceptable("fp32"), "soft pixels would be off by 2.5e-4"
    assert compare(near_zero + 1e-5, near_zero).acceptable("fp32")
    assert compare(near_zero + 1e-3, near_zero).acceptable("fp16")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_half_precision_what_sees_nothing_in_noise_is_not_taken_for_what_is_right(precision):
    wanted = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0)) - 8
    black = torch.full_like(wanted, -20.0)
    assert compare(black, wanted).matte_mean < 1 / 255
    assert not compare(black, wanted).acceptable(precision)
    assert compare(wanted * (1.002 if precision == "fp16" else 1.01), wanted).acceptable(precision)


def test_positions_that_are_rounded_to_pixels_are_found_in_half_precision(tmp_path):
    """What builders make of the newer name of the mode, and what a matte of noise hardly shows."""
    path, weights = tmp_path / "model.onnx", locate_weights(DEMO)
    write_onnx(path, DEMO, weights, 64, 64, "fp16", "gridsample")
    assert check_onnx(path, DEMO, weights, 64, 64, "fp16", form="gridsample")
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "GridSample":
            next(item for item in node.attribute if item.name == "mode").s = b"nearest"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match=r"Demo at 64x64 in fp16 differs from torch"):
        check_onnx(path, DEMO, weights, 64, 64, "fp16", form="gridsample")


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    demo = locate_weights(DEMO)
    heavy = find_model("heavy")
    with pytest.raises(WeightsError, match="not those of General Use"):
        write_onnx(tmp_path / "x.onnx", heavy, WeightsFile(demo.path, demo.sha256, ""), 64, 64, "fp32", "native")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("precision", "factor", "told"),
    [
        (
            "fp16",
            1e6,
            r"fp16: bb\.layers\.0\.\S+fc1\.bias has the value 1e\+06, and float16 ends at 65504; give .*bf16",
        ),
        (
            "bf16",
            3.4e38,
            r"bf16: bb\.layers\.0\.\S+fc1\.bias has the value 3\.4e\+38, and bfloat16 ends at 3\.39e38; give",
        ),
    ],
    ids=["fp16", "bf16"],
)
def test_weights_that_half_precision_cannot_hold_are_named_with_their_largest_value(precision, factor, told):
    name = "bb.layers.0.blocks.0.mlp.fc1.bias"
    state = {**filled_arrays("demo")}
    state[name] = np.full_like(state[name], factor)
    with pytest.raises(EngineError, match=rf"The weights do not fit into {told}"):
        network_model("demo", state, 64, 64, precision, "native", {})


def test_a_network_that_goes_beyond_half_precision_inside_is_refused_with_another_precision(tmp_path, monkeypatch):
    overflown = SimpleNamespace(run=lambda *_: [np.full((2, 1, 64, 64), np.nan, np.float32)])
    monkeypatch.setattr(onnx_session, "open_session", lambda *_, **__: overflown)
    with pytest.raises(EngineError, match=r"fp16 gives logits .* no finite numbers.*engine.precision=fp32 or bf16"):
        check_onnx(tmp_path / "model.onnx", DEMO, locate_weights(DEMO), 64, 64, "fp16")
