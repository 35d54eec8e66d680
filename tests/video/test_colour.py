"""Colours from a file to a file of each type, judged by another FFmpeg than the one that wrote them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_picture import BARS, image_of
from video_clips import convert
from ycbcr import KR_KB, Planes, coefficients, to_ycbcr, write_planes

from birefnet_batch.video.formats import FORMATS, GIF, PRORES

pytestmark = pytest.mark.skipif(which("ffmpeg") is None, reason="ffmpeg, the judge of the colours, is not installed")
WIDTH, HEIGHT = 256, 64
TAGS = {
    "bt709": ("bt709", "bt709"),
    "smpte170m": ("smpte170m", "smpte170m"),
    "bt2020nc": ("bt2020", "bt2020-10"),
}


def chart() -> Planes:
    """Eight bars above, 64 greys from black to white below; (H, W, 3) in [0, 255]."""
    image = np.empty((HEIGHT, WIDTH, 3))
    image[: HEIGHT // 2] = BARS[np.arange(WIDTH) * 8 // WIDTH]
    image[HEIGHT // 2 :] = np.rint(np.linspace(0, 255, 64))[np.arange(WIDTH) // 4][:, None]
    return image


def patches(image: NDArray[Any]) -> Planes:
    """The colours (72, 3) of a picture of the chart, away from where two meet."""
    bars, greys = image[HEIGHT // 4, 16::32], image[HEIGHT * 3 // 4, 1::4]
    return np.concatenate([bars, greys]).astype(np.float64)


def to_rgb(planes: list[Planes], matrix: str, full: bool) -> Planes:
    """What those numbers stand for, (H, W, 3) in [0, 255]."""
    kr, kb, scale, offset, spread = coefficients(matrix, full)
    luma = (planes[0] - offset) / scale
    blue, red = (luma + (2 - 2 * k) * (plane - 128) / spread for k, plane in ((kb, planes[1]), (kr, planes[2])))
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=-1) * 255, 0, 255)


def chart_file(path: Path, matrix: str, full: bool, primaries: str, transfer: str) -> list[Planes]:
    """Write the chart without loss, tagged; its planes."""
    planes = to_ycbcr(chart(), matrix, full)
    tags = {
        "colorspace": matrix,
        "color_range": "pc" if full else "tv",
        "color_primaries": primaries,
        "color_trc": transfer,
    }
    write_planes(path, planes, tags)
    return planes


def seen(path: Path) -> NDArray[np.uint8]:
    """The first frame as FFmpeg's program shows it, by the file's own tags."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1"]
    command += ["-sws_flags", "bilinear+accurate_rnd+full_chroma_int+bitexact", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    run = subprocess.run([*command, "-"], capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.uint8).reshape(HEIGHT, WIDTH, 3)


def tags(path: Path) -> dict[str, str]:
    entries = "stream=color_range,color_space,color_transfer,color_primaries"
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "default=nw=1", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(line.split("=") for line in lines)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", KR_KB)
def test_bars_and_greys_come_back_within_one_through_every_type(matrix: str, full: bool, tmp_path: Path) -> None:
    source = tmp_path / "chart.mkv"
    planes = chart_file(source, matrix, full, *TAGS[matrix])
    exact = patches(to_rgb(planes, matrix, full))
    read = patches(image_of(source)[0])
    assert np.abs(read - exact).max() <= 1
    for form in FORMATS.values():
        path = tmp_path / f"out{form.suffix}"
        convert(source, path, output_type=form.output_type, quality="maximum", write_mode="balanced")
        assert np.abs(patches(seen(path)) - read).max() <= 1, form.output_type
        if form is not GIF:
            wide_gamut = form is PRORES and matrix == "bt2020nc"
            assert tags(path) == {
                "color_range": "tv",
                "color_space": matrix if wide_gamut else "bt709",
                "color_primaries": TAGS[matrix][0],
                "color_transfer": TAGS[matrix][1],
            }, form.output_type


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_high_dynamic_range_keeps_its_tags_and_values(transfer: str, tmp_path: Path) -> None:
    source = tmp_path / "chart.mkv"
    exact = patches(to_rgb(chart_file(source, "bt2020nc", False, "bt2020", transfer), "bt2020nc", False))
    path = tmp_path / "out.mov"
    convert(source, path, output_type=PRORES.output_type, quality="maximum")
    assert np.abs(patches(seen(path)) - exact).max() <= 1
    found = tags(path)
    assert (found["color_primaries"], found["color_transfer"]) == ("bt2020", transfer)
