"""`birefnet-batch-engines` on the command line."""

from __future__ import annotations

import pytest

from birefnet_batch.engines_command import FAILED, OK, WRONG_USE, run


def test_export_writes_one_checked_file_that_says_what_it_is(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "demo.onnx"
    assert run(["export", "demo", "96x64", "--output", str(path)]) == OK
    said = capsys.readouterr().out
    assert "nodes" in said
    assert "against torch in fp32, batch 2: logits max" in said
    facts = {item.key.removeprefix("birefnet_batch."): item.value for item in onnx.load(path).metadata_props}
    assert (facts["model"], facts["width"], facts["height"]) == ("demo", "96", "64")
    assert (facts["precision"], facts["deform_conv"]) == ("fp32", "native")
    assert len(facts["weights_sha256"]) == 64
    assert facts["exporter"].startswith("birefnet_batch ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.onnx"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody", "96x64"], "there is no model 'nobody'; the models are"),
        (["demo", "100x64"], "resolution '100x64' is none: give WIDTHxHEIGHT in multiples of 32"),
        (["demo", "0"], "give WIDTHxHEIGHT"),
    ],
)
def test_wrong_words_are_named(words, message, capsys):
    assert run(["export", *words]) == WRONG_USE
    assert message in capsys.readouterr().err


def test_missing_weights_fail_with_what_to_do(tmp_path, capsys):
    missing = tmp_path / "missing.safetensors"
    assert run(["export", "heavy", "64", "--weights", str(missing)]) == FAILED
    assert "does not exist" in capsys.readouterr().err
