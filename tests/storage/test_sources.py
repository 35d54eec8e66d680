"""Inputs that need no network: as local files, with their digests, of one version."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from http_site import CONTENT, SETTINGS, SHA256

from birefnet_batch.errors import InputError
from birefnet_batch.storage import open_source, source_facts


def test_a_local_input_is_read_in_place_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "ü #1.mp4"
    path.write_bytes(CONTENT)
    uri = path.as_uri()
    facts = source_facts(uri, SETTINGS)
    with open_source(uri, facts, tmp_path, SETTINGS) as source:
        assert source.path == path
        assert source.sha256() == SHA256
    assert facts.size == len(CONTENT)


def test_a_changed_input_has_another_fingerprint_and_a_change_under_the_work_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    facts = source_facts(path.as_uri(), SETTINGS)
    with (
        pytest.raises(InputError, match="changed while it was read"),
        open_source(path.as_uri(), facts, tmp_path, SETTINGS),
    ):
        path.write_bytes(b"three")
    assert source_facts(path.as_uri(), SETTINGS).fingerprint != facts.fingerprint


def test_a_data_uri_is_an_input_that_is_named_by_its_digest(tmp_path: Path) -> None:
    uri = f"data:video/mp4;base64,{base64.b64encode(CONTENT[:5000]).decode()}"
    facts = source_facts(uri, SETTINGS)
    with open_source(uri, facts, tmp_path, SETTINGS) as source:
        assert source.path.read_bytes() == CONTENT[:5000]
        assert source.sha256() == hashlib.sha256(CONTENT[:5000]).hexdigest()
    assert not list(tmp_path.iterdir())
    with pytest.raises(BrokenPipeError, match="of the reader"), open_source(uri, facts, tmp_path, SETTINGS):
        raise BrokenPipeError("of the reader")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="was it copied completely") as caught:
        source_facts(uri[:-3], SETTINGS)
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match="storage.max_input_bytes=10"):
        source_facts(uri, replace(SETTINGS, max_input_bytes=10))
