"""A file that is no checkpoint is called what it is, with what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import loaded, written

from birefnet_batch.errors import WeightsError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:75873331c6\nsize 177634360\n"


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (POINTER, r"it is a Git LFS pointer, which stands for the file of 177,634,360 bytes .* `git lfs pull`"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>" * 90, r"it is a web page \(HTML or XML\), as a login"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>AccessDenied</Error>", r"it is a web page \(HTML or XML\)"),
        (b"", r"it is empty; fetch it again"),
        ('{"error": "Größe"}\n'.encode(), r'it is text and no weights, beginning with `\{"error": "Größe"\}`'),
        ("ö".encode() * 2000, r"it is text and no weights, beginning with `ö{60}`; download the file again"),
        (b"see https://host/a?sig=SECRET now", r"it is text and no weights, beginning with `see https://host/a now`"),
    ],
    ids=["pointer", "page", "xml", "empty", "json", "long", "signed"],
)
def test_what_stands_there_instead_of_weights_is_said(tmp_path: Path, content: bytes, told: str, suffix: str):
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"are no (safetensors file|checkpoint) that can be \w+: {told}"):
        loaded(path)


def test_the_other_format_under_a_wrong_name_is_said(tmp_path: Path, state):
    torch.save(state, tmp_path / "one.safetensors")
    with pytest.raises(WeightsError, match=r"archive, as torch\.save writes them; give it a name that ends in \.pth"):
        loaded(tmp_path / "one.safetensors")
    shutil.copy(written(tmp_path / "model.safetensors", state), tmp_path / "two.pth")
    with pytest.raises(WeightsError, match=r"a safetensors file; give it a name that ends in \.safetensors"):
        loaded(tmp_path / "two.pth")


def test_a_truncated_archive_is_called_so(tmp_path: Path, state):
    path = tmp_path / "model.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match=r"begins as one: it is truncated, and the list of what it holds was at"):
        loaded(path)
