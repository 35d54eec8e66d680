"""What Chromium shows of our files: alpha over two colours, compared pixel by pixel, and colours."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from browser import CHROMIUM, player
from numpy.typing import NDArray
from output_types import SPEC, cut_out, write
from test_colour import HEIGHT, WIDTH, chart_file, patches, to_rgb
from video_clips import convert

from birefnet_batch.video.formats import VP9, X264


def over(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.float64]:
    alpha = image[..., 3:].astype(float) / 255
    return image[..., :3] * alpha + np.array(colour, float) * (1 - alpha)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium, which judges the alpha, is not installed")
def test_chromium_lays_every_frame_over_what_is_behind_it(tmp_path: Path) -> None:
    spec = replace(SPEC, write_mode="balanced", width=128, height=96)
    path = tmp_path / "out.webm"
    write(path, [cut_out(number, (128, 96)) for number in range(8)], spec, parts=2)
    frames, colours = (0, 3, 6), ((255, 0, 0), (0, 0, 255))
    with player([path], [(frame + 0.5) / 25 for frame in frames], [f"rgb{colour}" for colour in colours]) as sent:
        assert sent.get(timeout=90)[0] == "/facts"
        for frame in frames:
            for colour in colours:
                kind, body = sent.get(timeout=90)
                assert kind == "/pixels", body
                found = np.frombuffer(body, np.uint8).reshape(96, 128, 4)[..., :3].astype(float)
                wanted = over(cut_out(frame, (128, 96)), colour)
                difference = np.abs(found - wanted)
                # Chroma is coded at half the resolution: a stripe's edge is soft by a pixel.
                assert np.median(difference) <= 3
                assert np.quantile(difference, 0.99) <= 40
                # Above, where nothing covers it, the colour itself is seen; below, nothing of it.
                assert np.abs(found[:8] - colour).max() <= 6
                assert np.abs(found[-8:] - wanted[-8:]).mean() <= 4


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None or which("ffmpeg") is None, reason="Chromium or FFmpeg, which judge the colours, is not installed"
)
def test_chromium_shows_bars_and_greys_as_they_are(tmp_path: Path) -> None:
    source, judge = tmp_path / "chart.mkv", tmp_path / "judge.mp4"
    exact = patches(to_rgb(chart_file(source, "bt709", False, "bt709", "bt709"), "bt709", False))
    encoder = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", "1"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *encoder, str(judge)], check=True)
    ours = [tmp_path / f"out{form.suffix}" for form in (X264, VP9)]
    for path, form in zip(ours, (X264, VP9), strict=True):
        convert(source, path, output_type=form.output_type, quality="maximum", write_mode="balanced")
    with player([judge, *ours], [0.0]) as sent:
        shown = []
        for _ in (judge, *ours):
            assert sent.get(timeout=90)[0] == "/facts"
            kind, body = sent.get(timeout=90)
            assert kind == "/pixels", body
            shown.append(patches(np.frombuffer(body, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]))
    for found in shown[1:]:
        # Without a GPU Chromium's factor of blue's chroma is cut off at 2, so that full blue is up to 12 too dark: what
        # it shows of another encoder's file is the judge there.
        assert np.abs(found - exact)[:, :2].max() <= 1
        assert np.abs(found - exact)[8:].max() <= 1
        assert np.abs(found - shown[0]).max() <= 1
