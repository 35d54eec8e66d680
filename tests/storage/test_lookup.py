"""What cannot be an input says so before anything is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from http_site import SETTINGS

from birefnet_batch.errors import FetchError, InputError
from birefnet_batch.storage import SourceFacts, backoff, bucket_source, lookup, source_facts
from birefnet_batch.storage.backoff import retried
from birefnet_batch.storage.lookup import many_source_facts
from birefnet_batch.storage.remote import PassingError
from birefnet_batch.uris import canonical_uri


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is no regular file; give a video file on disk"):
        source_facts((tmp_path / "pipe.mp4").as_uri(), SETTINGS)


def test_missing_inputs_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; check the path"):
        source_facts((tmp_path / "none.mp4").as_uri(), SETTINGS)
    with pytest.raises(InputError, match=f"is a folder; give manifest={tmp_path}"):
        source_facts(tmp_path.as_uri(), SETTINGS)


@pytest.mark.parametrize("name", ["*.mp4", "clip_?.mp4", "clip_[12].mp4"])
def test_a_pattern_in_place_of_a_video_is_told_where_patterns_belong(name: str, tmp_path: Path) -> None:
    (tmp_path / "clip_1.mp4").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        source_facts(canonical_uri(name, tmp_path), SETTINGS)
    assert f"if it is a pattern, give it as 'manifest={tmp_path}/{name}', with the quotes" in str(caught.value)


def test_of_a_server_that_is_down_few_inputs_are_asked_for_and_of_the_others_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def open_remote(uri: str, _: object) -> SimpleNamespace:
        def facts() -> SourceFacts:
            asked.append(uri)
            if "down" in uri:
                raise PassingError("Connection refused")
            if "closed" in uri:
                raise FetchError("403 Forbidden")
            return SourceFacts(1, uri)

        return SimpleNamespace(facts=facts, close=lambda: None)

    monkeypatch.setattr(lookup, "open_remote", open_remote)
    monkeypatch.setattr(backoff, "_FIRST_S", 0.0)
    hosts = ("me:secret@down", "closed", "up")
    uris = [f"https://{host}/{number}.mp4" for number in range(200) for host in hosts]
    found = many_source_facts(uris, SETTINGS, 4)
    assert list(found) == [uri for uri in uris if "up" in uri]
    assert {host: sum(host in uri for uri in asked) for host in hosts[1:]} == {"closed": 200, "up": 200}
    assert 16 <= len(asked) - 400 <= 2 * (8 + 4)
    assert "https://down: Connection refused; whether its inputs are the same" in caplog.text
    assert "secret" not in caplog.text


def test_the_folders_of_a_bucket_are_listed_side_by_side_and_not_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    four = threading.Barrier(4, timeout=60)

    def folder_facts(uris: Sequence[str], _: object) -> dict[str, SourceFacts]:
        four.wait()
        return {uri: SourceFacts(1, uri) for uri in uris}

    monkeypatch.setattr(bucket_source, "folder_facts", folder_facts)
    uris = [f"s3://bucket/raw/{folder}/{name}.mp4" for folder in range(8) for name in "abc"]
    assert list(many_source_facts(uris, SETTINGS, 4)) == uris


def test_of_a_bucket_that_is_down_few_folders_are_listed_and_of_the_others_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listed: list[str] = []

    def folder_facts(uris: Sequence[str], _: object) -> dict[str, SourceFacts]:
        def listing() -> dict[str, SourceFacts]:
            listed.append(uris[0])
            if "down" in uris[0]:
                raise PassingError("Connection refused")
            return {uri: SourceFacts(1, uri) for uri in uris}

        return retried(listing, uris[0], 1)

    monkeypatch.setattr(bucket_source, "folder_facts", folder_facts)
    monkeypatch.setattr(backoff, "_FIRST_S", 0.0)
    uris = [f"s3://{bucket}/{n}/{name}.mp4" for n in range(100) for bucket in ("down", "up") for name in "abc"]
    assert list(many_source_facts(uris, SETTINGS, 4)) == [uri for uri in uris if "up" in uri]
    assert sum("up" in uri for uri in listed) == 100
    assert 16 <= sum("down" in uri for uri in listed) <= 2 * (8 + 4)
    assert "s3://down: Connection refused; whether its inputs are the same" in caplog.text
