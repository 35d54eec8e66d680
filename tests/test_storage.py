"""Inputs from disk and HTTP, outputs whole or not at all."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from birefnet_batch.errors import ConfigError, InputError, OutputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage import Output, open_source, source_facts

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


def test_published_files_are_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    with Output(str(tmp_path / "out"), "run") as output:
        staged = output.staged("x")
        staged.write_bytes(b"media")
        assert not output.list("jobs/a")
        output.publish(staged, "jobs/a/video.mp4")
        output.write("jobs/a/job.json", b"{}")
        assert output.list("jobs/a") == ["job.json", "video.mp4"]
        assert output.read("jobs/a/video.mp4") == b"media"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["jobs"]


def test_scratch_of_a_dead_run_is_removed_and_that_of_a_living_one_kept(tmp_path: Path) -> None:
    for name in ("dead", "living"):
        folder = tmp_path / ".scratch" / name
        folder.mkdir(parents=True)
        (folder / "run.lock").touch()
        (folder / "part").write_bytes(b"x")
    with FileLock(tmp_path / ".scratch" / "living" / "run.lock"), Output(str(tmp_path), "new"):
        assert not (tmp_path / ".scratch" / "dead").exists()
        assert (tmp_path / ".scratch" / "living" / "part").exists()


def test_a_scratch_folder_of_the_users_own_is_used_and_left(tmp_path: Path) -> None:
    scratch = tmp_path / "fast-disk"
    scratch.mkdir()
    (scratch / "mine.txt").touch()
    with Output(str(tmp_path / "out"), "run", str(scratch)) as output:
        assert output.scratch.parent == scratch
        assert output.scratch.is_dir()
    assert [path.name for path in scratch.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_rights_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: permission denied"), Output(str(tmp_path / "out"), "run"):
        pass


def test_an_output_that_cannot_be_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another folder"), Output(str(tmp_path / "file"), "run"):
        pass
    with pytest.raises(ConfigError, match="this version writes to folders"):
        Output("s3://bucket/x", "run")
