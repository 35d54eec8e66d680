"""A page in Chromium that sends back what it sees."""

from __future__ import annotations

import http.server
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import copy, which

import numpy as np
from video_clips import number_of

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
_PLAYER = """<html><body><script>
const send = (path, body) => fetch(path, {method: 'POST', body});
const seek = (video, time) => new Promise(done => {
  video.addEventListener('seeked', () => setTimeout(done, 100), {once: true});
  video.currentTime = time;
});
const show = async name => {
  const video = document.createElement('video');
  video.muted = true;
  video.addEventListener('error', () => send('/error', video.error.message));
  const loaded = new Promise(done => video.addEventListener('loadeddata', done, {once: true}));
  // A server that knows no ranges gives no seekable video; a blob is one.
  video.src = URL.createObjectURL(await (await fetch(name)).blob());
  await loaded;
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  await send('/facts', JSON.stringify([video.videoWidth, video.videoHeight, video.duration]));
  for (const time of TIMES) {
    await seek(video, time);
    for (const colour of COLOURS) {
      context.fillStyle = colour;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(video, 0, 0);
      await send('/pixels', context.getImageData(0, 0, canvas.width, canvas.height).data);
    }
  }
};
(async () => { for (const name of NAMES) await show(name); })();
</script></body></html>"""
Sent = queue.Queue[tuple[str, bytes]]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folder and puts what the page sends into a queue."""

    def __init__(self, *args: object, sent: Sent, **kwargs: object) -> None:
        self.sent = sent
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        self.sent.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@contextmanager
def player(paths: Sequence[Path], times: Sequence[float], colours: Sequence[str] = ("rgb(0,0,0)",)) -> Iterator[Sent]:
    """Play files; of each the page sends its facts once, then its pixels at each time over each colour."""
    assert CHROMIUM is not None
    sent: Sent = queue.Queue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        site = Path(name) / "site"
        site.mkdir()
        for path in paths:
            copy(path, site / path.name)
        page = _PLAYER.replace("NAMES", json.dumps([path.name for path in paths]))
        page = page.replace("TIMES", json.dumps(list(times)))
        (site / "index.html").write_text(page.replace("COLOURS", json.dumps(list(colours))))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(site), sent=sent))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={name}/profile"),
                *("--remote-debugging-port=0", f"http://127.0.0.1:{server.server_port}/index.html"),
            ],
            env={**os.environ, "HOME": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield sent
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()
            server.server_close()


def played(paths: Sequence[Path], frames: Sequence[int], step: float) -> Iterator[tuple[Path, int, float, list[int]]]:
    """Play files of numbered frames, `step` seconds each: their widths, durations, and the numbers that are seen."""
    with player(paths, [(frame + 0.5) * step for frame in frames]) as sent:
        for path in paths:
            kind, body = sent.get(timeout=90)
            assert kind == "/facts", body
            width, height, duration = json.loads(body)
            numbers = []
            for _ in frames:
                kind, body = sent.get(timeout=90)
                assert kind == "/pixels", body
                numbers.append(number_of(np.frombuffer(body, np.uint8).reshape(height, width, 4)[..., :3]))
            yield path, width, duration, numbers
