"""Text out of files is shown without what a terminal obeys, and in part where it is long."""

from __future__ import annotations

from pathlib import Path

import torch
from checkpoints import written

from birefnet_batch.models.file_text import listed, printable, shown
from birefnet_batch.models.weights_command import run

EVIL = "\x1b[2J\x1b[31mEVIL\u202e\u2028\x9b" + "A" * 5000


def test_control_characters_are_escaped_and_other_letters_kept():
    assert printable("Größe 模型.weight") == "Größe 模型.weight"
    assert printable("\x1b[2J\r\n\t\x9b\u202e\udcff") == "\\x1b[2J\\r\\n\\t\\x9b\\u202e\\udcff"


def test_what_is_long_is_shown_in_part_with_its_length():
    assert shown("a" * 200) == "a" * 200
    assert shown("a" * 201) == "a" * 200 + "... (201 characters)"
    assert listed([str(number) for number in range(9)]) == "0, 1, 2, 3, 4, 5, ..."


def test_verify_shows_no_control_characters_of_names_in_a_checkpoint(tmp_path: Path, state, capsys):
    good = {name: value for name, value in state.items() if name != "decoder.conv_out1.0.bias"}
    written(tmp_path / "mine" / "model.safetensors", {**good, EVIL: torch.zeros(1)})
    torch.save({**good, EVIL: torch.zeros(1)}, tmp_path / "one.pth")
    torch.save({**good, EVIL: 3}, tmp_path / "other.pth")
    (tmp_path / "mine.yaml").write_text(
        f"one: {{network: demo, weights: {tmp_path}/one.pth}}\n"
        f"other: {{network: demo, weights: {tmp_path}/other.pth}}\n"
    )
    assert run(["verify", "--folder", str(tmp_path), "--models", str(tmp_path / "mine.yaml")]) == 1
    said = capsys.readouterr().out
    assert len(said.splitlines()) == said.count("EVIL") == 3
    assert said.count("\\x1b[2J\\x1b[31mEVIL\\u202e\\u2028\\x9bAAA") == 3
    assert all(line.isprintable() and len(line) < 1000 for line in said.splitlines())


def test_names_of_folders_and_sources_are_shown_so_too(tmp_path: Path, state, capsys):
    folder = tmp_path / "a\x1b[2Jb"
    written(folder / "model.safetensors", state)
    (folder / "source.json").write_text(
        '{"repository": "some\\u001b[2J/one", "revision": "main", "commit": "c", "size": 1, "sha256": "s"}'
    )
    assert run(["list", "--folder", str(tmp_path)]) == 0
    assert run(["verify", "--folder", str(tmp_path)]) == 1
    said = "".join(capsys.readouterr())
    assert "some\\x1b[2J/one@c" in said
    assert "\x1b" not in said
