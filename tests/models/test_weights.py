"""Checkpoints: from a file, a folder or the hub; what is wrong with one is said."""

from __future__ import annotations

import hashlib
import re
import shlex

import pytest
import torch
from checkpoints import DEMO, loaded, written
from closed_folder import close

from birefnet_batch.errors import WeightsError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import load_network, locate_weights, option_of

LIGHT = find_model("light")


def test_the_shipped_model_needs_nothing_from_outside():
    weights = locate_weights(DEMO)
    assert weights.sha256 == hashlib.sha256(weights.path.read_bytes()).hexdigest()
    assert weights.path.stat().st_size <= 10_000_000
    assert not load_network(DEMO, weights).training


def test_a_file_and_the_folder_that_holds_it_are_the_same(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    assert locate_weights(DEMO, str(tmp_path)).path == path
    assert locate_weights(DEMO, str(tmp_path)).sha256 == locate_weights(DEMO, str(path)).sha256
    for name, value in loaded(path).items():
        assert torch.equal(value, state[name]), name


def test_a_folder_must_hold_one_checkpoint(tmp_path, state):
    with pytest.raises(WeightsError, match="holds no safetensors file"):
        locate_weights(DEMO, str(tmp_path))
    written(tmp_path / "a.safetensors", state)
    written(tmp_path / "b.safetensors", state)
    with pytest.raises(WeightsError, match="holds 2 safetensors files; it must hold model.safetensors, or exactly one"):
        locate_weights(DEMO, str(tmp_path))


def test_a_path_that_is_not_there_says_how_to_get_the_weights(tmp_path):
    with pytest.raises(WeightsError) as error:
        locate_weights(LIGHT, str(tmp_path / "none.safetensors"))
    said = str(error.value)
    assert f"weights.light={tmp_path}/none.safetensors does not exist" in said
    assert "`birefnet-batch-weights fetch light --folder weights`" in said
    assert "give weights_folder=weights" in said


def test_a_url_is_no_checkpoint_and_is_named_without_its_secrets():
    with pytest.raises(WeightsError, match="weights.demo=https://h/m.pth is a URL, which is not downloaded") as error:
        locate_weights(DEMO, "https://me:hunter2@h/m.pth?token=hunter2 hunter2")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("folder", ["my weights", "it's & (here)"])
def test_the_command_that_is_named_can_be_pasted_into_a_shell(tmp_path, folder):
    with pytest.raises(WeightsError) as error:
        locate_weights(LIGHT, None, f"{tmp_path}/{folder}")
    command, setting = re.findall(r"run `(.*?)`, copy .* here and give (.*)$", str(error.value))[0]
    assert shlex.split(command)[-2:] == ["--folder", f"{tmp_path}/{folder}"]
    assert shlex.split(setting) == [f"weights_folder={tmp_path}/{folder}"]


@pytest.mark.parametrize(("named", "where"), [(False, "weights/light"), (True, "light=weights/light")])
def test_a_program_with_an_option_for_weights_names_that_option(tmp_path, state, monkeypatch, named, where):
    with pytest.raises(WeightsError) as error:
        locate_weights(LIGHT, str(tmp_path / "none.safetensors"), given_by=option_of(LIGHT, named=named))
    assert str(error.value).endswith(f"copy the folder weights here and give --weights {where}")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "weights" / "light" / "model.safetensors", state)
    assert locate_weights(LIGHT, "weights/light").path.resolve() == path


@pytest.mark.parametrize(("setting", "folder", "name"), [("", None, "weights.light"), (None, " ", "weights_folder")])
def test_an_empty_setting_is_not_the_current_folder(tmp_path, state, monkeypatch, setting, folder, name):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "model.safetensors", state)
    with pytest.raises(WeightsError, match=rf"^{name} is empty, as of a shell's variable that is not set; give a path"):
        locate_weights(LIGHT, setting, folder)


def test_a_folder_of_weights_on_no_disk_here_is_refused_without_its_password():
    with pytest.raises(WeightsError, match=r"^weights_folder=https://host/weights is on no disk of this machine; copy"):
        locate_weights(LIGHT, None, "https://user:secret@host/weights")


@pytest.mark.parametrize(
    ("setting", "folder", "reason"),
    [
        ("{}/closed/own.safetensors", None, "weights.light=.*own.safetensors cannot be read: permission denied; give"),
        ("{}/closed", None, "The weights folder .*closed cannot be read: permission denied"),
        (None, "{}/closed", "model.safetensors cannot be read: permission denied"),
        ("{}/" + "x" * 300, None, "cannot be read: file name too long; give"),
    ],
    ids=["file", "folder", "filled folder", "long name"],
)
def test_what_may_not_be_looked_at_is_one_clear_error(tmp_path, monkeypatch, setting, folder, reason):
    close(tmp_path / "closed", monkeypatch)
    with pytest.raises(WeightsError, match=reason):
        locate_weights(LIGHT, setting and setting.format(tmp_path), folder and folder.format(tmp_path))
