"""Inputs behind URLs: whole, in time and of one version, whatever their servers do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from http_site import CONTENT, SETTINGS, Site, fetched

from birefnet_batch.errors import FetchError, InputError, OutputError
from birefnet_batch.storage import backoff, fetch_log, open_source, source_facts, sources
from birefnet_batch.storage.facts import SourceFacts
from birefnet_batch.storage.fetch import Fetch
from birefnet_batch.storage.growing_file import BLOCK
from birefnet_batch.storage.remote import PassingError, Remote


@pytest.mark.parametrize(
    "behaviours",
    [
        ("good",),
        ("no-ranges",),
        ("cut", "cut", "cut", "cut", "good"),
        ("cut", "no-ranges"),
        ("503", "429", "500", "good"),
        ("stall", "good"),
        ("cut", "promises-too-much"),
    ],
    ids=" ".join,
)
def test_an_http_input_comes_whole_whatever_happens_on_the_way(
    site: Site, tmp_path: Path, behaviours: tuple[str, ...]
) -> None:
    assert fetched(site, tmp_path, *behaviours, settings=replace(SETTINGS, timeout_s=1)) == CONTENT
    assert not list(tmp_path.iterdir())


def test_a_dropped_connection_is_resumed_where_it_ended(site: Site, tmp_path: Path) -> None:
    fetched(site, tmp_path, "cut", "good")
    assert site.asked == ["bytes=0-0", "", f"bytes={2 * BLOCK + 77}-"]


@pytest.mark.parametrize("ranges", ["short", "no-ranges"])
def test_a_connection_that_always_drops_within_a_block_gets_on_all_the_same(
    site: Site, tmp_path: Path, ranges: str
) -> None:
    site.content = CONTENT[: 2 * BLOCK]
    behaviours = ["short"] * 40 if ranges == "short" else ["cut", "no-ranges"]
    assert fetched(site, tmp_path, *behaviours, settings=replace(SETTINGS, max_retries=1)) == site.content


def test_an_input_of_unknown_length_comes_whole(site: Site, tmp_path: Path) -> None:
    site.behave("no-length")
    site.content = CONTENT[: 2 * BLOCK]

    facts = replace(source_facts(site.url, SETTINGS), size=None, ranges=False)
    with open_source(site.url, facts, tmp_path, SETTINGS) as source:
        assert source.path.read_bytes() == site.content


def test_an_input_of_unknown_length_that_always_drops_at_one_place_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)
    tries = 0

    class Dropping(Remote):
        def facts(self) -> SourceFacts:
            raise NotImplementedError

        def read(self, start: int, facts: SourceFacts) -> Generator[bytes]:
            nonlocal tries
            tries += 1
            assert tries < 10, "it goes on for ever"
            yield bytes(1 << 17)
            raise PassingError("the connection was dropped")

    facts, settings = SourceFacts(None, "unversioned"), replace(SETTINGS, max_retries=1)
    fetch = Fetch("http://h/clip.mp4", Dropping(), facts, tmp_path / "source", settings, lambda count, size: None)
    with pytest.raises(FetchError, match=r"the connection was dropped; given up after 2 tries in a row"), fetch:
        pass
    assert tries == 2


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("404", "the server answered 404 Not Found; check the URL"),
        ("403", "403 Forbidden"),
        ("500", r"500 Internal Server Error; given up after 4 tries in a row \(storage.max_retries=3\)"),
        ("changed", "changed while it was read"),
        ("elsewhere", f"asked for the bytes from {2 * BLOCK + 77} on"),
    ],
)
def test_a_url_that_fails_gives_one_line_without_its_secrets(
    site: Site, tmp_path: Path, behaviour: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        fetched(site, tmp_path, "cut", behaviour)
    assert isinstance(caught.value, FetchError) == (behaviour in ("403", "500")), "another machine may get it"
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("behaviour", "etag", "reason"),
    [
        (
            "lies",
            '"one"',
            "the server announced {more} bytes and sent {whole}; given up after 4 tries",
        ),
        ("lies-in-ranges", '"one"', "its server is wrong about its length: {more} bytes were announced, then {whole};"),
        ("lies-in-ranges", None, "it changed while it was read, or its server is wrong about its length: {more} bytes"),
    ],
)
def test_a_server_that_lies_about_the_length_is_told_from_a_file_that_changes(
    site: Site, tmp_path: Path, behaviour: str, etag: str | None, reason: str
) -> None:
    site.etag = etag
    site.behave(behaviour)
    facts = source_facts(site.url, SETTINGS)
    expected = reason.format(more=len(CONTENT) + 1000, whole=len(CONTENT))
    with (
        pytest.raises(InputError, match=re.escape(expected)),
        open_source(site.url, facts, tmp_path, SETTINGS) as source,
    ):
        source.complete()


@pytest.mark.parametrize(
    ("etag_with", "modified_with"), [((200,), ()), ((206,), ()), ((200,), (206,)), ((206,), (200,))]
)
def test_a_server_that_names_versions_of_whole_files_or_of_parts_alone_does_not_change(
    site: Site, tmp_path: Path, etag_with: tuple[int, ...], modified_with: tuple[int, ...]
) -> None:
    site.modified, site.etag_with, site.modified_with = "Wed, 21 Oct 2015 07:28:00 GMT", etag_with, modified_with
    assert fetched(site, tmp_path, "cut", "good") == CONTENT


@pytest.mark.parametrize("etag_with", [(), (206,)])
def test_a_change_is_seen_by_what_both_answers_name(site: Site, tmp_path: Path, etag_with: tuple[int, ...]) -> None:
    site.modified, site.etag_with = "Wed, 21 Oct 2015 07:28:00 GMT", etag_with
    with pytest.raises(InputError, match="changed while it was read"):
        fetched(site, tmp_path, "changed")


def test_a_server_that_packs_what_was_asked_for_as_it_is_is_told_of(site: Site, tmp_path: Path) -> None:
    site.behave("packed")
    with pytest.raises(
        InputError, match=r"its server packs it \(Content-Encoding: gzip\) although it was asked not to"
    ):
        source_facts(site.url, SETTINGS)
    site.behave("good")
    facts = source_facts(site.url, SETTINGS)
    site.behave("packed")
    with pytest.raises(InputError, match="packs it"), open_source(site.url, facts, tmp_path, SETTINGS) as source:
        source.complete()
    site.behave("names-no-packing")
    assert source_facts(site.url, SETTINGS).size == len(CONTENT)


def test_a_silent_server_and_a_closed_port_are_given_up(site: Site, tmp_path: Path) -> None:
    quick = replace(SETTINGS, timeout_s=0.3, max_retries=1)
    with pytest.raises(InputError, match="did not answer in time"):
        fetched(site, tmp_path, "stall", settings=quick)
    with pytest.raises(InputError, match="cannot be fetched"):
        source_facts("http://127.0.0.1:9/a.mp4", quick)


def test_an_input_over_the_limit_or_over_the_disk_is_not_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="storage.max_input_bytes=1000"):
        fetched(site, tmp_path, settings=replace(SETTINGS, max_input_bytes=1000))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=f"needs {len(CONTENT)} bytes of scratch space .* has 1000; make room"):
        fetched(site, tmp_path)
    assert site.asked == ["bytes=0-0"] * 2
    assert not list(tmp_path.iterdir())


def test_progress_is_told_to_the_last_byte(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    facts = source_facts(site.url, SETTINGS)
    monkeypatch.setattr(sources, "FetchLog", lambda uri: lambda count, size: told.append((count, size)))
    with open_source(site.url, facts, tmp_path, SETTINGS) as source:
        source.complete()
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [count for count, _ in told] == sorted(count for count, _ in told)


def test_a_fetch_that_takes_long_is_logged_without_secrets(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetch_log, "_EVERY_S", 0.0)
    caplog.set_level("INFO")
    fetched(site, tmp_path)
    assert f"{site.root}/a/clip.mp4: 6.3 MB of 6.3 MB" in caplog.text
    assert "secret" not in caplog.text
    site.content = CONTENT[:4321]
    fetched(site, tmp_path)
    assert "clip.mp4: 4.3 kB of 4.3 kB" in caplog.text
