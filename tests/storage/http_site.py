"""A local HTTP server that behaves as a test says: well, or as bad servers and networks do."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import open_source, source_facts
from birefnet_batch.storage.growing_file import BLOCK

SETTINGS = StorageSettings(timeout_s=3, max_retries=3)
CONTENT = os.urandom(6 * BLOCK + 1234)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A local HTTP server and how it behaves."""

    root: str = ""
    etag: str | None = '"one"'
    modified: str | None = None
    etag_with: tuple[int, ...] = (200, 206)
    modified_with: tuple[int, ...] = (200, 206)
    """The status of the answers that have this header."""
    content: bytes = CONTENT
    behaviours: list[str] = field(default_factory=list)
    """One for each request to come, the last one for all that follow; facts take the first."""
    asked: list[str] = field(default_factory=list)
    """The Range header of each request."""
    stalled: threading.Event = field(default_factory=threading.Event)
    stall_s: float = 10.0
    """How long it is silent where it stalls or halts."""

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
            status = 206
            self.send_response(status)
            told = whole + 1000 if behaviour == "lies-in-ranges" else whole
            self.send_header("Content-Range", f"bytes {start + (behaviour == 'elsewhere')}-{stop - 1}/{told}")
        else:
            status = 200
            self.send_response(status)
        if behaviour in ("packed", "names-no-packing"):
            self.send_header("Content-Encoding", "gzip" if behaviour == "packed" else "aws-chunked")
        if site.etag and status in site.etag_with:
            self.send_header("ETag", '"two"' if behaviour == "changed" else site.etag)
        if site.modified and status in site.modified_with:
            self.send_header("Last-Modified", f"{site.modified}{behaviour == 'changed' or ''}")
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
                site.stalled.wait(site.stall_s)
            elif behaviour == "stall":
                self.wfile.write(body[:1000])
                self.wfile.flush()
                site.stalled.wait(site.stall_s)
            else:
                for at in range(0, len(body), 1 << 16):
                    self.wfile.write(body[at : at + (1 << 16)])
        except OSError:
            # A client that wants no more hangs up.
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_site() -> Iterator[Site]:
    """A site that answers well until it is told otherwise."""
    state = Site(behaviours=["good"])
    handler = type("SiteHandler", (Handler,), {"site": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.root = f"http://127.0.0.1:{server.server_port}"
        yield state
        state.stalled.set()
        server.shutdown()


def fetched(site: Site, scratch: Path, *behaviours: str, settings: StorageSettings = SETTINGS) -> bytes:
    """The content, fetched from a site that answers the request for facts well."""
    site.behave("good", *(behaviours or ("good",)))
    facts = source_facts(site.url, settings)
    with open_source(site.url, facts, scratch, settings) as source:
        assert source.sha256() == hashlib.sha256(source.path.read_bytes()).hexdigest()
        return source.path.read_bytes()
