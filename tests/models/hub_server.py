"""A local server that speaks the hub's protocol: metadata in headers, large files elsewhere, ranges, refusals."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warm import Program

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_CHUNK = 1 << 19


@dataclass
class Hub:
    """What the server has and does; tests change it while it runs."""

    large: dict[str, bytes] = field(default_factory=dict)
    """`owner/name@revision` -> model.safetensors in large-file storage."""
    small: dict[str, bytes] = field(default_factory=dict)
    """The same, in git itself."""
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    cuts: list[int] = field(default_factory=list)
    """Of each next transfer: after so many bytes the connection is cut."""
    spoiled: int = 0
    """So many next transfers have one wrong byte."""
    storage: str = ""
    """Where it sends those who ask for a large file; empty: to itself by another name."""
    elsewhere: str = ""
    """Where it sends all questions, as a proxy may."""
    busy: bool = False
    """Whether it answers 503 to everything."""
    pause_s: float = 0.0
    """Between chunks of a transfer."""
    asked: list[str] = field(default_factory=list)
    """`METHOD path` of each request, with its range."""
    tokens_at_storage: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def transfers(self) -> list[str]:
        return [asked for asked in self.asked if asked.startswith("GET /storage/")]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, wanted = self.hub, self.headers.get("Range")
        hub.asked.append(f"{self.command} {self.path}{f' {wanted}' if wanted else ''}")
        if hub.elsewhere:
            self.send_response(200 if self.path == hub.elsewhere else 302)
            self.send_header("Location", hub.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if hub.busy:
            self._refuse(503, "Busy")
            return
        if self.path.startswith("/storage/"):
            if self.headers.get("Authorization"):
                hub.tokens_at_storage.append(self.headers["Authorization"])
            digest = self.path.rpartition("/")[2]
            self._send(next(item for item in hub.large.values() if hashlib.sha256(item).hexdigest() == digest), {})
            return
        match = _RESOLVE.fullmatch(self.path)
        if match is None:
            self._refuse(404, "RepoNotFound")
            return
        repository, revision, name = match.groups()
        versions = {**hub.large, **hub.small}
        known = [key for key in versions if key.partition("@")[0] == repository]
        authorised = self.headers.get("Authorization") == f"Bearer {hub.token}"
        key = known[0] if known and revision == COMMIT else f"{repository}@{revision}"
        if not known or (repository in hub.private and not authorised):
            self._refuse(401, "RepoNotFound")
        elif repository in hub.gated and not authorised:
            self._refuse(403, "GatedRepo")
        elif key not in known:
            self._refuse(404, "RevisionNotFound")
        elif name != "model.safetensors":
            self._refuse(404, "EntryNotFound")
        elif key in hub.small:
            content = hub.small[key]
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            content = hub.large[key]
            digest = hashlib.sha256(content).hexdigest()
            self.send_response(302)
            # Another host to a client, which must not send its token there.
            storage = hub.storage or f"http://localhost:{hub.port}"
            self.send_header("Location", f"{storage}/storage/{digest}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        hub = self.hub
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-").group(1))  # type: ignore[union-attr]
        if start >= len(content):
            self._refuse(416, "RangeNotSatisfiable")
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = content[start:]
        if hub.spoiled:
            hub.spoiled -= 1
            body = bytes([body[0] ^ 1]) + body[1:]
        end = hub.cuts.pop(0) if hub.cuts else len(body)
        try:
            for offset in range(0, min(end, len(body)), _CHUNK):
                self.wfile.write(body[offset : min(offset + _CHUNK, end)])
                self.wfile.flush()
                time.sleep(hub.pause_s)
        except OSError:
            pass
        self.close_connection = self.close_connection or end < len(body)

    def log_message(self, *args: object) -> None: ...


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


_LOCATE = """
import json, sys
from birefnet_batch.errors import WeightsError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights
for setting, folder in json.loads(sys.argv[1]):
    try:
        found = locate_weights(find_model("light"), setting, folder)
        print(json.dumps([found.source, found.sha256, str(found.path)]), flush=True)
    except WeightsError as error:
        print(json.dumps(str(error)), flush=True)
"""


def environment(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    """The variables of a process that knows no other hub and no other cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **more}


def start_locating(settings: list[tuple[str | None, str | None]], env: dict[str, str]) -> Program:
    """A process that locates General Use (Light), once for each (setting, folder)."""
    return Program(_LOCATE, json.dumps(settings), env=env)


def located(process: Program) -> list[Any]:
    """What it found: [source, sha256, path], or what the error says."""
    done = process.wait()
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
