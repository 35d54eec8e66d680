"""Chromium shows the alpha of our WebM files: frames over two colours, compared pixel by pixel."""

from __future__ import annotations

import http.server
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from numpy.typing import NDArray
from test_output_types import SPEC, cut_out, write

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
PAGE = """<html><body><script>
const video = document.createElement('video');
video.muted = true;
// A server that knows no ranges gives no seekable video; a blob is one.
fetch('out.webm').then(file => file.blob()).then(blob => { video.src = URL.createObjectURL(blob); });
const send = (path, body) => fetch(path, {method: 'POST', body});
const seek = time => new Promise(done => {
  video.addEventListener('seeked', () => setTimeout(done, 100), {once: true});
  video.currentTime = time;
});
video.addEventListener('error', () => send('/error', video.error.message));
video.addEventListener('loadeddata', async () => {
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  for (const frame of [0, 3, 6]) {
    await seek((frame + 0.5) / 25);
    for (const colour of ['rgb(255,0,0)', 'rgb(0,0,255)']) {
      context.fillStyle = colour;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(video, 0, 0);
      await send('/pixels', context.getImageData(0, 0, canvas.width, canvas.height).data);
    }
  }
});
</script></body></html>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folder and puts what the page sends into a queue."""

    def __init__(self, *args: object, sent: queue.Queue[tuple[str, bytes]], **kwargs: object) -> None:
        self.sent = sent
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        self.sent.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    """What the page sends while a browser shows it."""
    sent: queue.Queue[tuple[str, bytes]] = queue.Queue()
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(PAGE)
    spec = replace(SPEC, write_mode="balanced", width=128, height=96)
    write(site / "out.webm", [cut_out(number, (128, 96)) for number in range(8)], spec, parts=2)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site), sent=sent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/index.html"),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield sent
    browser.kill()
    browser.wait()
    server.shutdown()
    server.server_close()


def over(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.float64]:
    alpha = image[..., 3:].astype(float) / 255
    return image[..., :3] * alpha + np.array(colour, float) * (1 - alpha)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium, which judges the alpha, is not installed")
def test_chromium_lays_every_frame_over_what_is_behind_it(shown: queue.Queue[tuple[str, bytes]]) -> None:
    for frame in (0, 3, 6):
        for colour in ((255, 0, 0), (0, 0, 255)):
            path, body = shown.get(timeout=90)
            assert path == "/pixels", body
            found = np.frombuffer(body, np.uint8).reshape(96, 128, 4)[..., :3].astype(float)
            wanted = over(cut_out(frame, (128, 96)), colour)
            difference = np.abs(found - wanted)
            # Chroma is coded at half the resolution: a stripe's edge is soft by a pixel.
            assert np.median(difference) <= 3
            assert np.quantile(difference, 0.99) <= 40
            # Above, where nothing covers it, the colour itself is seen; below, nothing of it.
            assert np.abs(found[:8] - colour).max() <= 6
            assert np.abs(found[-8:] - wanted[-8:]).mean() <= 4
