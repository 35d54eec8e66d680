"""Pixels that are not square, from a file to a file of each type, judged by another FFmpeg."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from shutil import which

import pytest
from video_clips import Clip, convert, look, make

from birefnet_batch.errors import OutputError
from birefnet_batch.video.formats import FORMATS, GIF, VP9
from birefnet_batch.video.webm_aspect import set_pixel_shape

needs_ffprobe = pytest.mark.skipif(which("ffprobe") is None, reason="ffprobe, the judge of the shapes, is missing")


def seen(path: Path) -> tuple[int, int, Fraction]:
    """Width, height and a pixel's shape, as ffprobe reads them; it must find nothing to complain of."""
    command = ["ffprobe", "-v", "warning", "-show_streams", "-select_streams", "v", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    stream = json.loads(done.stdout)["streams"][0]
    return stream["width"], stream["height"], Fraction(stream["sample_aspect_ratio"].replace(":", "/"))


@needs_ffprobe
@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.suffix)
@pytest.mark.parametrize("shape", ["4/3", "16/11", "11/16", "35/32"])
def test_the_shape_of_pixels_is_kept_by_every_type(shape: str, form, tmp_path: Path) -> None:
    ratio = Fraction(shape)
    source = make(tmp_path / "clip.mp4", Clip(frames=6, size=(96, 80), aspect=ratio))
    path = tmp_path / f"out{form.suffix}"
    convert(source, path, output_type=form.output_type, cuts=(3,) if form.joinable else ())
    width, height, found = seen(path)
    assert (width, height) == (96, 80)
    # WebM has whole pixels of the size at which it is shown, GIF a number of 64ths.
    step = {VP9: Fraction(1, 2 * 80), GIF: Fraction(1, 64)}.get(form, Fraction(0))
    assert abs(found - ratio) <= step
    assert len(look(path).times) == 6


@needs_ffprobe
def test_pixels_of_a_turned_video_are_turned_too(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=4, size=(96, 80), aspect=Fraction(4, 3), rotation=90))
    for form in FORMATS.values():
        path = tmp_path / f"out{form.suffix}"
        convert(source, path, output_type=form.output_type)
        assert seen(path)[:2] == (80, 96)
        assert seen(path)[2] == pytest.approx(0.75, abs=1 / 64)


def test_square_pixels_need_no_mark(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=4, size=(96, 80)))
    convert(source, tmp_path / "out.webm", output_type=VP9.output_type)
    assert b"\x54\xb0" not in (tmp_path / "out.webm").read_bytes()[:400]


def test_what_is_no_webm_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.webm"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + bytes(range(1, 200)))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"other\.webm has no track"):
        set_pixel_shape(path, 96, 80, Fraction(4, 3))
    assert path.read_bytes() == before
