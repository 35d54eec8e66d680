"""Inputs from disk and HTTP."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import open_source, source_facts

SETTINGS = StorageSettings(timeout_s=3)
CONTENT = bytes(range(256)) * 8192


@dataclass
class Site:
    """A local HTTP server and how it behaves."""

    url: str = ""
    etag: str | None = '"one"'
    behaviour: str = "good"
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _head(self) -> None:
            state.asked.append(self.command)
            if state.behaviour.isdigit():
                self.send_error(int(state.behaviour))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            if state.etag:
                self.send_header("ETag", state.etag)
            self.end_headers()

        def do_HEAD(self) -> None:
            if state.behaviour == "no-head":
                self.send_error(403)
                return
            self._head()

        def do_GET(self) -> None:
            self._head()
            if state.behaviour.isdigit():
                return
            if state.behaviour == "cut":
                self.wfile.write(CONTENT[:1000])
                self.close_connection = True
            elif state.behaviour == "stall":
                self.wfile.write(CONTENT[:1000])
                self.wfile.flush()
                stalled.wait(10)
            else:
                try:
                    self.wfile.write(CONTENT)
                except OSError:
                    # A client that only wants the headers hangs up.
                    self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    stalled = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/a/clip.mp4?token=secret"
    yield state
    stalled.set()
    server.shutdown()
    server.server_close()


def test_a_local_input_is_read_in_place_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "ü #1.mp4"
    path.write_bytes(CONTENT)
    uri = path.as_uri()
    facts = source_facts(uri, SETTINGS)
    with open_source(uri, facts, tmp_path, SETTINGS) as source:
        assert source.path == path
        assert source.sha256() == hashlib.sha256(CONTENT).hexdigest()
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


def test_missing_inputs_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; check the path"):
        source_facts((tmp_path / "none.mp4").as_uri(), SETTINGS)
    with pytest.raises(InputError, match=f"is a folder; give manifest={tmp_path}"):
        source_facts(tmp_path.as_uri(), SETTINGS)


@pytest.mark.parametrize("behaviour", ["good", "no-head"])
def test_an_http_input_is_fetched_hashed_and_removed(site: Site, tmp_path: Path, behaviour: str) -> None:
    site.behaviour = behaviour
    facts = source_facts(site.url, SETTINGS)
    assert "one" in facts.fingerprint
    with open_source(site.url, facts, tmp_path, SETTINGS) as source:
        assert source.path.read_bytes() == CONTENT
        assert source.sha256() == hashlib.sha256(CONTENT).hexdigest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("404", "404"), ("403", "403"), ("500", "500"), ("cut", "fetched|ended after")]
)
def test_a_url_that_fails_gives_one_line_without_its_secrets(
    site: Site, tmp_path: Path, behaviour: str, reason: str
) -> None:
    site.behaviour = behaviour
    with pytest.raises(InputError, match=reason) as caught:
        facts = source_facts(site.url, SETTINGS)
        with open_source(site.url, facts, tmp_path, SETTINGS):
            pass
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_silent_server_and_a_closed_port_are_given_up(site: Site, tmp_path: Path) -> None:
    quick = StorageSettings(timeout_s=0.5)
    facts = source_facts(site.url, quick)
    site.behaviour = "stall"
    with (
        pytest.raises(InputError, match="did not answer in time|cannot be fetched"),
        open_source(site.url, facts, tmp_path, quick),
    ):
        pass
    with pytest.raises(InputError, match="cannot be fetched"):
        source_facts("http://127.0.0.1:9/a.mp4", quick)


def test_an_input_over_the_limit_is_not_fetched(site: Site, tmp_path: Path) -> None:
    small = StorageSettings(max_input_bytes=1000)
    facts = source_facts(site.url, small)
    with pytest.raises(InputError, match="storage.max_input_bytes=1000"), open_source(site.url, facts, tmp_path, small):
        pass
