"""Inputs from disk and HTTP: whole, in time, of one version, and never from where they may not come."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import backoff, fetch_log, open_source, source_facts
from birefnet_batch.storage.growing_file import BLOCK, open_file
from birefnet_batch.storage.http_guard import is_public
from birefnet_batch.video.reader import FrameReader

SETTINGS = StorageSettings(timeout_s=3, max_retries=3)
CONTENT = os.urandom(6 * BLOCK + 1234)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A local HTTP server and how it behaves."""

    root: str = ""
    etag: str | None = '"one"'
    content: bytes = CONTENT
    behaviours: list[str] = field(default_factory=list)
    """One for each request to come, the last one for all that follow; facts take the first."""
    asked: list[str] = field(default_factory=list)
    """The Range header of each request."""
    stalled: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """A signed URL of the content."""
        return f"{self.root}/a/clip.mp4?token=secret"

    def behave(self, *behaviours: str) -> None:
        """Say how the next requests are answered."""
        self.behaviours[:] = behaviours

    def next(self) -> str:
        """How this one is."""
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the site says."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        behaviour = site.next()
        site.asked.append(self.headers.get("Range", ""))
        if behaviour.startswith("to "):
            self.send_response(302)
            self.send_header("Location", behaviour[3:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if behaviour.isdigit():
            self.send_response(int(behaviour))
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        self.close_connection = True
        start, stop, whole = 0, len(site.content), len(site.content)
        if site.asked[-1] and behaviour not in ("no-ranges", "lies"):
            first, _, last = site.asked[-1].removeprefix("bytes=").partition("-")
            start, stop = int(first), min(whole, int(last) + 1 if last else whole)
            self.send_response(206)
            told = whole + 1000 if behaviour == "lies-in-ranges" else whole
            self.send_header("Content-Range", f"bytes {start + (behaviour == 'elsewhere')}-{stop - 1}/{told}")
        else:
            self.send_response(200)
        if behaviour in ("packed", "names-no-packing"):
            self.send_header("Content-Encoding", "gzip" if behaviour == "packed" else "aws-chunked")
        if site.etag:
            self.send_header("ETag", '"two"' if behaviour == "changed" else site.etag)
        if behaviour != "no-length":
            promised = stop - start + (1000 if behaviour in ("promises-too-much", "lies") else 0)
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        body = site.content[start:stop]
        try:
            if behaviour == "short":
                self.wfile.write(body[:100_000])
            elif behaviour == "cut":
                self.wfile.write(body[: 2 * BLOCK + 77])
            elif behaviour == "halting" and len(body) > 2 * BLOCK:
                self.wfile.write(body[: 2 * BLOCK])
                self.wfile.flush()
                site.stalled.wait(10)
            elif behaviour == "stall":
                self.wfile.write(body[:1000])
                self.wfile.flush()
                site.stalled.wait(10)
            else:
                for at in range(0, len(body), 1 << 16):
                    self.wfile.write(body[at : at + (1 << 16)])
        except OSError:
            # A client that wants no more hangs up.
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site(behaviours=["good"])
    handler = type("SiteHandler", (Handler,), {"site": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.root = f"http://127.0.0.1:{server.server_port}"
        yield state
        state.stalled.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "_FIRST_S", 0.01)


def fetched(site: Site, scratch: Path, *behaviours: str, settings: StorageSettings = SETTINGS) -> bytes:
    """The content, fetched from a site that answers the request for facts well."""
    site.behave("good", *(behaviours or ("good",)))
    facts = source_facts(site.url, settings)
    with open_source(site.url, facts, scratch, settings) as source:
        assert source.sha256() == hashlib.sha256(source.path.read_bytes()).hexdigest()
        return source.path.read_bytes()


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


@pytest.mark.parametrize("beside", ["", "not ours", "folder"])
def test_a_local_file_is_read_whatever_its_name_and_whatever_stands_beside_it(tmp_path: Path, beside: str) -> None:
    path = tmp_path / f"{'n' * (200 if beside else 251)}.mp4"
    path.write_bytes(CONTENT[:5000])
    if beside == "folder":
        Path(f"{path}.blocks").mkdir()
    elif beside:
        Path(f"{path}.blocks").write_text(beside)
    with open_file(os.fsencode(path)) as file:
        assert file.read() == CONTENT[:5000]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is no regular file; give a video file on disk"):
        source_facts((tmp_path / "pipe.mp4").as_uri(), SETTINGS)


def test_missing_inputs_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; check the path"):
        source_facts((tmp_path / "none.mp4").as_uri(), SETTINGS)
    with pytest.raises(InputError, match=f"is a folder; give manifest={tmp_path}"):
        source_facts(tmp_path.as_uri(), SETTINGS)


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


def test_the_end_of_a_file_can_be_read_while_its_middle_is_on_its_way(site: Site, tmp_path: Path) -> None:
    facts = source_facts(site.url, SETTINGS)
    site.behave("cut", "stall")
    with open_source(site.url, facts, tmp_path, replace(SETTINGS, timeout_s=30)) as source:
        with open_file(os.fsencode(source.path)) as file:
            assert file.read(1000) == CONTENT[:1000]
            file.seek(-500, os.SEEK_END)
            site.behave("good")
            assert file.read() == CONTENT[-500:]
            site.stalled.set()
            file.seek(5 * BLOCK - 10)
            assert file.read(20) == CONTENT[5 * BLOCK - 10 : 5 * BLOCK + 10]
        assert source.sha256() == SHA256


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("404", "the server answered 404 Not Found; check the URL"),
        ("403", "403 Forbidden"),
        ("500", r"500 Internal Server Error; given up after 4 tries in a row \(storage.max_retries=3\)"),
        ("changed", "changed while it was read"),
        ("elsewhere", "asked for the bytes from 0 on|asked for the bytes from"),
    ],
)
def test_a_url_that_fails_gives_one_line_without_its_secrets(
    site: Site, tmp_path: Path, behaviour: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        fetched(site, tmp_path, "cut", behaviour)
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


def test_a_reader_of_a_file_that_fails_ends_and_the_transfer_says_why(site: Site, tmp_path: Path) -> None:
    facts = source_facts(site.url, SETTINGS)
    site.behave("cut", "404")
    with (
        pytest.raises(InputError, match="404"),
        open_source(site.url, facts, tmp_path, SETTINGS) as source,
        open_file(os.fsencode(source.path)) as file,
    ):
        file.seek(5 * BLOCK)
        try:
            file.read(1)
        except OSError as error:
            raise InputError(f"{source.path} cannot be read: {error}") from None


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
    assert site.asked == ["bytes=0-0"]


def test_progress_is_told_to_the_last_byte(site: Site, tmp_path: Path) -> None:
    told: list[Any] = []
    facts = source_facts(site.url, SETTINGS)
    with open_source(site.url, facts, tmp_path, SETTINGS, lambda count, size: told.append((count, size))) as source:
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

    from birefnet_batch.storage import http_guard

    real = http_guard.is_public
    monkeypatch.setattr(http_guard, "is_public", lambda address: address == "127.0.0.1" or real(address))
    assert source_facts(site.url, closed).size == len(CONTENT)
    site.behave("to http://127.0.0.2:80/")
    with pytest.raises(InputError, match=r"private address 127.0.0.2"):
        source_facts(site.url, closed)


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


def test_a_data_uri_is_an_input_that_is_named_by_its_digest(tmp_path: Path) -> None:
    uri = f"data:video/mp4;base64,{base64.b64encode(CONTENT[:5000]).decode()}"
    facts = source_facts(uri, SETTINGS)
    with open_source(uri, facts, tmp_path, SETTINGS) as source:
        assert source.path.read_bytes() == CONTENT[:5000]
        assert source.sha256() == hashlib.sha256(CONTENT[:5000]).hexdigest()
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="was it copied completely") as caught:
        source_facts(uri[:-3], SETTINGS)
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match="storage.max_input_bytes=10"):
        source_facts(uri, replace(SETTINGS, max_input_bytes=10))


def test_a_decoder_reads_a_file_that_is_still_on_its_way_the_index_at_its_end_first(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(60):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (240, 320, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    site.content = path.read_bytes()
    last = (len(site.content) - 1) // BLOCK
    assert last >= 5
    facts = source_facts(site.url, SETTINGS)
    site.behave("halting")
    (tmp_path / "scratch").mkdir()
    with open_source(site.url, facts, tmp_path / "scratch", replace(SETTINGS, timeout_s=0.5)) as source:
        with FrameReader(source.path) as reader:
            frames = sum(1 for frame in reader if frame.release() is None)
        assert source.sha256() == hashlib.sha256(site.content).hexdigest()
    assert frames == 60
    assert f"bytes={last * BLOCK}-" in site.asked, "the end was not asked for by itself"
