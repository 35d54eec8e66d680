"""The client of HTTP inputs, whatever the environment says."""

from __future__ import annotations

import os
import ssl
import sys

import pytest

from birefnet_batch.errors import FetchError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import http_client, source_facts
from birefnet_batch.storage.lookup import many_source_facts

SETTINGS = StorageSettings(max_retries=0)
PROXY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    http_client._trusted.cache_clear()
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("SSL"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "'socksio' package is not installed"),
        ({"all_proxy": "socks://me:very-secret@127.0.0.1:9"}, "Unknown scheme for proxy URL"),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,::1/128"}, "one of them is no URL, host or address"),
        ({"HTTP_PROXY": "http://me:very-secret/2@127.0.0.1:9"}, "one of them is no URL, host or address"),
        ({"SSL_CERT_FILE": "/nonexistent.pem"}, "no such file or directory; change it or unset it"),
    ],
)
def test_proxies_and_certificates_that_cannot_be_used_are_one_clear_error(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FetchError, match=reason) as caught:
        source_facts("http://127.0.0.1:9/a.mp4?token=very-secret", SETTINGS)
    start = "http://127.0.0.1:9/a.mp4 cannot be fetched: what this machine says of proxies and certificates "
    assert str(caught.value).startswith(f"{start}({', '.join(sorted(variables))}) cannot be used: ")
    assert "very-secret" not in str(caught.value)
    assert many_source_facts(["http://127.0.0.1:9/a.mp4", "data:,x"], SETTINGS, 2).keys() == {"data:,x"}


@pytest.mark.parametrize("allow_private_hosts", [True, False])
def test_certificates_are_read_once_for_all_urls(allow_private_hosts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    load = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **given: read.append(given) or load(**given))
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    settings = StorageSettings(allow_private_hosts=allow_private_hosts)
    for number in range(3):
        http_client.http_client(f"https://h/{number}.mp4", settings).close()
    assert len(read) == 1
