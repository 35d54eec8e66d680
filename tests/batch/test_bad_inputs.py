"""A video that cannot be done costs one clear error, and the others are done."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import pytest
from batch_runs import files_of, job_folder, request, run_all
from clips import make_clip

from birefnet_batch import InputError, Request, process_video
from birefnet_batch.schemas import job_schema


def broken_missing(path: Path) -> None:
    path.unlink()


def broken_text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def broken_empty(path: Path) -> None:
    path.write_bytes(b"")


def broken_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def broken_audio_only(path: Path) -> None:
    make_clip(path, frames=0, audio=True)


@pytest.mark.parametrize(
    "break_it",
    [broken_missing, broken_text, broken_empty, broken_truncated, broken_audio_only],
    ids=lambda f: f.__name__,
)
def test_a_bad_input_costs_one_clear_error_and_the_rest_goes_on(
    break_it: Callable[[Path], None], clip: Path, output: Path, tmp_path: Path
) -> None:
    bad = make_clip(tmp_path / "bad.mp4", frames=12)
    break_it(bad)
    summary, outcomes = run_all(output, request(bad), request(clip))
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    ((uri, reason),) = summary.failures
    assert uri == bad.as_uri()
    assert "bad.mp4" in reason
    assert len(reason.splitlines()) == 1
    assert "Traceback" not in reason
    record = json.loads((job_folder(output, "bad") / "job.json").read_text())
    jsonschema.validate(record, job_schema())
    assert record["status"] == "failed"
    assert record["error"]["type"] == "InputError"
    assert files_of(job_folder(output, "bad")) == ["job.json"]
    with pytest.raises(InputError, match="bad.mp4"):
        process_video(request(bad), output=output)


def test_missing_weights_fail_their_videos_and_no_others(clip: Path, output: Path, tmp_path: Path) -> None:
    weights = {"portrait": str(tmp_path / "nowhere")}
    portrait = Request(str(clip), model="Portrait")
    summary, outcomes = run_all(output, portrait, request(clip), weights=weights)
    assert [outcome.status for outcome in outcomes] == ["failed", "succeeded"]
    assert "weights" in summary.failures[0][1]
    assert outcomes[0].exception is not None


@pytest.mark.usefixtures("trivial_engine")
def test_bad_content_behind_a_url_is_named_by_the_url(tmp_path: Path, output: Path) -> None:
    (tmp_path / "page.mp4").write_text("<html>no video</html>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/page.mp4"
    summary, _ = run_all(output, replace(request(Path("x")), video_url=f"{url}?token=topsecret"))
    server.shutdown()
    server.server_close()
    assert url in summary.failures[0][1]
    assert ".scratch" not in summary.failures[0][1]
    assert "topsecret" not in summary.failures[0][1]


def test_a_url_that_cannot_be_read_is_an_input_error_of_its_video(output: Path) -> None:
    with pytest.raises(InputError, match="is no URL that can be read"):
        process_video({"video_url": "http://[::1/x.mp4", "model": "demo"}, output=output)
