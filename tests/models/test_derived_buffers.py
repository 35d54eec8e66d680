"""Buffers that the network computes itself: the same in every checkpoint, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoints import DEMO, loaded, written

from birefnet_batch.errors import WeightsError
from birefnet_batch.models import build_network
from birefnet_batch.models.birefnet import NETWORKS
from birefnet_batch.models.checkpoint import check_file
from birefnet_batch.models.derived_buffers import derived_buffers, is_derived
from birefnet_batch.models.weights_command import run

INDEX = "bb.layers.1.blocks.0.attn.relative_position_index"


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_checkpoint_may_leave_out_is_computed_without_the_network(name: str):
    with torch.device("meta"):
        empty = build_network(name)
    computed = derived_buffers(empty)
    assert computed.keys() == {name for name in empty.state_dict() if is_derived(name)}
    assert all(computed[name].shape == value.shape for name, value in empty.state_dict().items() if name in computed)
    if name == "demo":
        built = build_network(name).state_dict()
        assert all(torch.equal(value, built[name]) for name, value in computed.items())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("index", [10**6, 3], ids=["outside the table", "inside"])
def test_another_index_is_refused_by_verify_fetch_and_a_run_alike(tmp_path: Path, state, index, prefix, capsys):
    changed = {prefix + name: value for name, value in state.items()}
    changed[prefix + INDEX] = torch.full_like(state[INDEX], index)
    path = written(tmp_path / "model.safetensors", changed)
    for judge in (loaded, lambda path: check_file(path, DEMO)):
        with pytest.raises(WeightsError, match=f"not what the network computes itself, in 1 tensors: {INDEX}; "):
            judge(path)
    (tmp_path / "mine.yaml").write_text(f"mine: {{network: demo, weights: {path}}}\n")
    for word in ("verify", "fetch"):
        assert run([word, "mine", "--folder", str(tmp_path), "--models", str(tmp_path / "mine.yaml")]) == 1
        assert f"in 1 tensors: {INDEX}" in "".join(capsys.readouterr())


def test_the_same_index_in_fewer_bits_is_the_same(tmp_path: Path, state):
    path = written(tmp_path / "model.safetensors", {**state, INDEX: state[INDEX].to(torch.int16)})
    assert check_file(path, DEMO) == "demo"
    assert torch.equal(loaded(path)[INDEX], state[INDEX])
