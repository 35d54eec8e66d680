"""Checkpoints: tensors and nothing else, judged before anything is allocated; what is wrong with one is said."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from checkpoints import loaded, written
from warm import Program

from birefnet_batch.errors import WeightsError
from birefnet_batch.models import build_network
from birefnet_batch.models.birefnet import NETWORKS
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.safetensors_header import MOST_BYTES, MOST_VALUES, HeaderError, read_header
from birefnet_batch.models.weights import load_network, locate_weights

LIGHT = find_model("light")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_checkpoint_of_another_precision_runs_in_single(tmp_path, state, kind):
    halved = {name: value.to(kind) if value.is_floating_point() else value for name, value in state.items()}
    found = loaded(written(tmp_path / "model.safetensors", halved))
    for name, value in found.items():
        assert value.dtype == state[name].dtype, name
        assert torch.equal(value, halved[name].to(value.dtype)), name


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_from_wrapped_modules_are_understood(tmp_path, state, prefix):
    wrapped = {prefix + name: value for name, value in state.items()}
    found = loaded(written(tmp_path / "model.safetensors", wrapped))
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_buffers_that_follow_from_the_network_may_be_left_out(tmp_path, state):
    derived = ("relative_position_index", "num_batches_tracked")
    kept = {name: value for name, value in state.items() if not name.endswith(derived)}
    assert len(kept) < len(state)
    found = loaded(written(tmp_path / "model.safetensors", kept))
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_every_kind_of_wrong_tensor_is_said_at_once(tmp_path, state):
    changed = dict(state)
    del changed["decoder.conv_out1.0.bias"]
    changed["decoder.conv_out9.weight"] = torch.zeros(1)
    changed["bb.patch_embed.norm.bias"] = torch.zeros(7)
    path = written(tmp_path / "model.safetensors", changed)
    with pytest.raises(WeightsError) as error:
        loaded(path)
    said = str(error.value)
    assert f"{path} are not those of Demo (network demo)" in said
    assert "1 missing: decoder.conv_out1.0.bias" in said
    assert "1 unknown: decoder.conv_out9.weight" in said
    assert "1 of another shape: bb.patch_embed.norm.bias is (7,) instead of (32,)" in said


def test_a_network_is_made_without_the_compilers_of_torch_which_take_seconds_to_load():
    code = (
        "import sys; from birefnet_batch.models.checkpoint import network_from;"
        "from birefnet_batch.models.registry import find_model;"
        "from birefnet_batch.models.weights import locate_weights;"
        "demo = find_model('demo'); network_from(locate_weights(demo).path, demo);"
        "print(sorted({'sympy', 'torch._dynamo', 'torch.fx.experimental.symbolic_shapes'} & set(sys.modules)))"
    )
    done = Program(code, env=dict(os.environ)).wait()
    assert done.stdout.strip() == "[]", done.stderr


def test_weights_of_another_model_are_refused(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    with pytest.raises(WeightsError, match=r"not those of General Use \(Light\) \(network swin_v1_l\)"):
        load_network(LIGHT, locate_weights(LIGHT, str(path)))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all, really", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"no safetensors file that can be read"):
        loaded(path)


def test_a_truncated_file_is_one_clear_error(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"no safetensors file that can be read: it is truncated: its tensors have"):
        loaded(path)


def test_a_truncated_file_names_the_tensors_that_lie_behind_its_end(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    whole = path.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda name: header[name]["data_offsets"])
    path.write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match=rf"; 1 of its {len(state)} tensors are not or not all there: {names[-1]}; "):
        loaded(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError) as error:
        loaded(path)
    there = path.stat().st_size - 8 - int.from_bytes(whole[:8], "little")
    behind = [name for name in names if header[name]["data_offsets"][1] > there]
    assert len(behind) > 6
    assert f"{len(behind)} of its {len(state)} tensors are not or not all there: {', '.join(behind[:6])}, ..." in str(
        error.value
    )


def headed(path: Path, header: object) -> Path:
    """A file that is a header and nothing else."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def test_a_header_that_claims_a_hundred_gigabytes_costs_no_memory(tmp_path):
    shape = [160_000, 160_000]
    path = headed(
        tmp_path / "a.safetensors", {"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 102_400_000_000]}}
    )
    with pytest.raises(WeightsError, match="truncated: its tensors have 102,400,000,000 bytes, and 0 are there"):
        loaded(path)
    path.write_bytes(struct.pack("<Q", 99_999_999) + b"{}")
    with pytest.raises(WeightsError, match="do not begin with a header of 99,999,999 bytes, as they claim"):
        loaded(path)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b'{"a":[' + b"{}," * 11_000_000 + b"{}]}", "its header has 33,000,010 bytes, and at most 2,097,152 are read"),
        (b'{"a":[' + b"{}," * 600_000 + b"{}]}", "its header has more than 65,536 values"),
        (b"[" * 2_000_000, "its header has more than 65,536 values"),
        (
            b"{%s}" % b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(20_000)),
            "its header has more than 65,536 values",
        ),
    ],
    ids=["33 MB", "empty objects", "nested lists", "empty tensors"],
)
def test_a_header_that_unfolds_to_much_is_refused_before_it_is_parsed(tmp_path, monkeypatch, head, told):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head)
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    tracemalloc.start()
    try:
        read_header(path)
    except HeaderError as error:
        said, peak = str(error), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.match(told, said)
    assert peak < 5_000_000


@pytest.mark.parametrize("name", NETWORKS)
def test_headers_of_our_networks_are_far_from_the_bounds(name):
    with torch.device("meta"):
        state = build_network(name).state_dict()
    offset = 10**9
    header = {
        f"module._orig_mod.{key}": {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [offset, offset]}
        for key, value in state.items()
    }
    text = json.dumps(header)
    assert 10 * len(text) < MOST_BYTES
    assert 10 * sum(text.count(mark) for mark in "{[,") < MOST_VALUES


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F5", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1]},
        {"dtype": [], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4 * 10**30]},
        {"dtype": "F32", "shape": [1] * 99, "data_offsets": [0, 4]},
        [],
    ],
    ids=json.dumps,
)
def test_a_header_that_contradicts_itself_is_one_clear_error(tmp_path, entry):
    with pytest.raises(WeightsError, match=r"no safetensors file that can be read: .*x"):
        loaded(headed(tmp_path / "a.safetensors", {"x": entry}))


def test_tensors_of_another_kind_of_number_are_refused(tmp_path, state):
    name = "decoder.conv_out1.0.bias"
    path = written(tmp_path / "model.safetensors", {**state, name: state[name].long()})
    with pytest.raises(WeightsError, match=rf"1 of another type: {name} is I64"):
        loaded(path)


def test_numbers_of_eight_bits_are_refused_in_both_formats_alike(tmp_path, state):
    name = "decoder.conv_out1.0.bias"
    eight = {**state, name: state[name].to(torch.float8_e4m3fn)}
    with pytest.raises(WeightsError, match=rf"{name} is of type F8_E4M3; the types are F64, F32, F16"):
        loaded(written(tmp_path / "model.safetensors", eight))
    torch.save(eight, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=rf"1 of another type: {name} is float8_e4m3fn"):
        loaded(tmp_path / "model.pth")


def test_nan_is_found(tmp_path, state):
    name = "decoder.conv_out1.0.bias"
    path = written(tmp_path / "model.safetensors", {**state, name: torch.full_like(state[name], float("nan"))})
    with pytest.raises(WeightsError, match=rf"hold NaN, in 1 tensors: {name}"):
        loaded(path)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_what_torch_saved_is_loaded(tmp_path, state, wrapper):
    path = tmp_path / "epoch_200.pth"
    wrapped = {"module." + name: value for name, value in state.items()}
    torch.save(wrapped if wrapper is None else {"epoch": 200, wrapper: wrapped}, path)
    found = loaded(path)
    assert all(torch.equal(found[name], value) for name, value in state.items())


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f'{sys.executable} -c \'open("{self.proof}", "w")\'',)


def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path, state):
    proof = tmp_path / "it ran"
    path = tmp_path / "evil.pth"
    torch.save({**state, "extra": Malicious(proof)}, path)
    with pytest.raises(
        WeightsError, match=r"it holds more than tensors, and only tensors are loaded.*it asks for posix\.system"
    ):
        loaded(path)
    path.write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(WeightsError, match="it is no archive as torch.save writes it"):
        loaded(path)
    assert not proof.exists()


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(5_000_000))
    with pytest.raises(WeightsError, match="its members are compressed"):
        loaded(path)


def test_a_truncated_archive_and_other_things_than_tensors_are_refused(tmp_path, state):
    path = tmp_path / "model.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match="it is no archive as torch.save writes it"):
        loaded(path)
    torch.save({**state, "epoch": 3}, path)
    with pytest.raises(WeightsError, match="not all that it holds are tensors: epoch"):
        loaded(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="it holds a list and not a mapping of tensors by name"):
        loaded(path)


class Called:
    """Calls something with arguments when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced: tuple[object, ...] = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


def nested(value: tuple[object, ...]) -> tuple[object, ...]:
    """A tuple that holds itself twice, fifty times: small, and hashed for years."""
    for _ in range(50):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (lambda: Called(bytearray, 9_000_000_000), r"\(it asks for \w+\.bytearray\)"),
        (lambda: Called(bytearray, 10**15), r"\(it asks for \w+\.bytearray\)"),
        (lambda: Called(torch.UntypedStorage, 9_000_000_000), r"\(its pickle calls what makes no tensor\)"),
        (lambda: Called(torch.Tensor, 9_000_000_000), r"\(it asks for torch\.Tensor\)"),
        (lambda: nested(()), r"\(its pickle has a tuple of more than 1,000 values\)"),
        (lambda: "x" * 2_200_000, r"\(its pickle has [0-9,]+ bytes, and at most 2,097,152 are read\)"),
        (lambda: {1, 2}, r"\(it asks for \w+\.set\)"),
    ],
    ids=["bytearray", "huge bytearray", "storage", "tensor", "nested tuples", "long text", "set"],
)
def test_a_pickle_that_would_take_memory_or_years_is_refused_before_torch_follows_it(
    tmp_path, monkeypatch, value, told
):
    path = tmp_path / "model.pth"
    torch.save({"extra": value()}, path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch follows it"))
    with pytest.raises(WeightsError, match=rf"it holds more than tensors, and only tensors are loaded.*{told}"):
        loaded(path)


def test_a_tensor_put_together_from_other_things_is_one_clear_error(tmp_path):
    storage = torch.zeros(1).untyped_storage()
    wrong = Called(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, OrderedDict(), 3)
    torch.save({"x": wrong}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="are no checkpoint that can be loaded: torch cannot read it"):
        loaded(tmp_path / "model.pth")


def test_attributes_that_a_pickle_gives_do_not_stand_in_place_of_methods(tmp_path, state):
    path = tmp_path / "model.pth"
    hostile = torch.nn.Parameter(state["decoder.conv_out1.0.bias"].clone())
    hostile.to = hostile.numel = 5  # type: ignore[assignment, method-assign]
    shadows = dict.fromkeys(("get", "items", "keys", "__iter__", "__class__"), 5)
    named, outer = Called(OrderedDict), Called(OrderedDict)
    named.reduced += (shadows, None, iter({**state, "decoder.conv_out1.0.bias": hostile}.items()))
    outer.reduced += (shadows, None, iter({"model": named}.items()))
    torch.save(outer, path)
    found = loaded(path)
    assert all(torch.equal(found[name], value) for name, value in state.items())
