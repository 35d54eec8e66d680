"""What an operator closed stays closed, on redirects too."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_site import CONTENT, SETTINGS, Site

from birefnet_batch.errors import InputError
from birefnet_batch.storage import http_guard, source_facts
from birefnet_batch.storage.http_guard import is_public


def test_schemes_that_an_operator_closed_are_refused_on_redirects_too(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=r"file:// is not among storage.allow_schemes \(http\)"):
        source_facts((tmp_path / "a.mp4").as_uri(), replace(SETTINGS, allow_schemes=["http"]))
    site.behave(f"to {site.root.replace('http:', 'https:')}/b")
    with pytest.raises(InputError, match=r"https:// is not among storage.allow_schemes \(http\)"):
        source_facts(site.url, replace(SETTINGS, allow_schemes=["http"]))
    for other in ("file:///etc/passwd", "s3://me:secret@bucket/key"):
        site.behave(f"to {other}")
        with pytest.raises(
            InputError, match=r"sends on to (file|s3)://.*, and only http:// and https:// are"
        ) as caught:
            source_facts(site.url, SETTINGS)
        assert "secret" not in str(caught.value)


def test_private_hosts_are_refused_after_name_resolution_and_on_redirects(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = replace(SETTINGS, allow_private_hosts=False)
    port = site.root.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"):
        with pytest.raises(InputError, match=r"private address .* storage.allow_private_hosts=false"):
            source_facts(f"http://{host}:{port}/a.mp4", closed)
    assert not site.asked

    real = is_public
    monkeypatch.setattr(http_guard, "is_public", lambda address: address == "127.0.0.1" or real(address))
    assert source_facts(site.url, closed).size == len(CONTENT)
    site.behave("to http://127.0.0.2:80/")
    with pytest.raises(InputError, match=r"private address 127.0.0.2"):
        source_facts(site.url, closed)


def test_a_name_with_letters_is_asked_for_as_the_one_that_is_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def resolve(host: str, port: int, **how: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.extend((request.headers["Host"], request.extensions["sni_hostname"], request.url.host))
        return httpx.Response(200)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with httpx.Client(transport=http_guard.GuardedTransport(httpx.MockTransport(answer))) as client:
        client.get("https://stra\u00dfe.de/a.mp4")
    assert asked == ["xn--strae-oqa.de"] * 3 + ["8.8.8.8"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("fec0::1", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("::127.0.0.1", False),
        ("::8.8.8.8", False),
        ("::ffff:0:127.0.0.1", False),
        ("::", False),
        ("192.0.0.8", False),
        ("192.0.0.9", True),
        ("192.0.0.171", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("203.0.113.1", False),
        ("240.0.0.1", False),
    ],
)
def test_addresses_of_the_internet_are_told_from_others(address: str, public: bool) -> None:
    assert is_public(address) is public
