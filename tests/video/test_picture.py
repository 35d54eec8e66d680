"""Colours, orientation and size of what is read."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, features
from video_clips import Clip, make, number_of, numbered
from ycbcr import to_ycbcr, write_planes

from birefnet_batch.errors import InputError
from birefnet_batch.video.decoding import open_video
from birefnet_batch.video.info import VideoInfo, split
from birefnet_batch.video.picture import Picture
from birefnet_batch.video.probe import probe
from birefnet_batch.video.reader import FrameReader

BARS = np.array(
    [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)],
    np.float64,
)


def image_of(path: Path, index: int = 0) -> tuple[NDArray[np.uint8], VideoInfo]:
    with FrameReader(path, start=index) as reader:
        for frame in reader:
            return frame.image.copy(), reader.info
    raise AssertionError("no frame")


def converted(path: Path) -> NDArray[np.uint8]:
    """The first frame as `image_of` gives it, decoded in this process, which is quicker."""
    with open_video(os.fsencode(path)) as (_, _, decoder):
        picture = Picture(decoder.first)
        memory = np.empty(picture.width * picture.height * (4 if picture.alpha else 3), np.uint8)
        picture.write(decoder.first, memory)
        return split(memory, picture.width, picture.height, wide=False)[0].astype(np.uint8)


def bars_file(path: Path, matrix: str, full: bool, size: tuple[int, int], tags: dict[str, str]) -> Path:
    """Eight bars, converted to YCbCr by the textbook's formulas, coded without loss."""
    width, height = size
    columns = np.arange(width) * 8 // width
    planes = [np.tile(plane[columns], (height, 1)) for plane in to_ycbcr(BARS, matrix, full)]
    return write_planes(path, planes, tags)


@pytest.mark.parametrize(
    ("matrix", "full", "size", "tags"),
    [
        ("bt709", False, (256, 64), {"colorspace": "bt709", "color_range": "tv"}),
        ("bt709", True, (256, 64), {"colorspace": "bt709", "color_range": "pc"}),
        ("smpte170m", False, (1280, 720), {"colorspace": "smpte170m", "color_range": "tv"}),
        ("bt2020nc", False, (256, 64), {"colorspace": "bt2020nc", "color_range": "tv"}),
        ("smpte170m", False, (256, 576), {}),
        ("bt709", False, (256, 720), {}),
    ],
    ids=["709", "709 full", "601 tagged at 720 lines", "2020", "untagged 576 lines", "untagged 720 lines"],
)
def test_colours_are_exact(
    matrix: str, full: bool, size: tuple[int, int], tags: dict[str, str], tmp_path: Path
) -> None:
    image = converted(bars_file(tmp_path / "bars.mkv", matrix, full, size, tags))
    centres = image[size[1] // 2, (np.arange(8) * 2 + 1) * size[0] // 16].astype(np.float64)
    assert np.abs(centres - BARS).max() <= 2


@pytest.mark.parametrize(
    ("codec", "bits", "options"),
    [
        ("prores_ks", 10, {"profile": "hq"}),
        ("dnxhd", 8, {"profile": "dnxhr_hq"}),
        ("v210", 10, {}),
        ("libx264", 8, {"qp": "1"}),
    ],
)
def test_chroma_of_half_the_width_is_read_at_the_left_one_of_two_pixels(
    codec: str, bits: int, options: dict[str, str], tmp_path: Path
) -> None:
    blues = np.tile(np.clip(np.arange(256.0), 16, 240), (128, 1))
    grey = np.full(blues.shape, 128.0)
    planes = [plane * 2 ** (bits - 8) for plane in (grey, blues, grey)]
    path = write_planes(tmp_path / "ramp.mov", planes, options, bits, "422", codec)
    found = to_ycbcr(converted(path).astype(np.float64), "smpte170m", False)[1]
    # Towards the ends colours leave RGB.
    assert (found - blues)[32:96, 88:168].mean() == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize(("codec", "pix_fmt", "kind"), [("ffv1", "bgr0", "matroska"), ("png", "rgb24", "mov")])
def test_rgb_passes_unchanged(codec: str, pix_fmt: str, kind: str, tmp_path: Path) -> None:
    clip = Clip(frames=1, codec=codec, pix_fmt=pix_fmt, format=kind)
    image, _ = image_of(make(tmp_path / "clip", clip))
    np.testing.assert_array_equal(image, numbered(0, clip.size))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_orientation_is_applied(rotation: int, hflip: bool, tmp_path: Path) -> None:
    clip = Clip(frames=2, options={"crf": "4"}, aspect=Fraction(4, 3), rotation=rotation, hflip=hflip)
    path = make(tmp_path / "turned.mp4", clip)
    image, info = image_of(path, 1)
    assert image.shape[:2] == (info.height, info.width)
    assert (info.width, info.height) == ((64, 96) if rotation % 180 else (96, 64))
    assert info.sample_aspect_ratio == (Fraction(3, 4) if rotation % 180 else Fraction(4, 3))
    if which("ffmpeg") is None:
        pytest.skip("ffmpeg, the judge of the orientation, is not installed")
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    judge = np.frombuffer(raw, np.uint8).reshape(2, *image.shape)[1]
    assert np.abs(image.astype(int) - judge).max() <= 4


def test_later_frames_of_another_size_are_scaled_to_the_first_one(tmp_path: Path) -> None:
    small = make(tmp_path / "small.ts", Clip(frames=5, size=(96, 64), format="mpegts"))
    large = make(tmp_path / "large.ts", Clip(frames=5, size=(192, 128), format="mpegts"))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with FrameReader(path) as reader:
        shapes = []
        for frame in reader:
            shapes.append(frame.image.shape)
            frame.release()
    assert shapes == [(64, 96, 3)] * 10
    assert any("another size" in note.text for note in reader.notes)


def test_recordings_joined_end_to_end_follow_one_another(tmp_path: Path) -> None:
    one = make(tmp_path / "one.ts", Clip(frames=50, format="mpegts"))
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() * 2)
    with FrameReader(path) as reader:
        times = []
        for frame in reader:
            times.append(frame.pts * reader.info.time_base)
            frame.release()
    assert times == [Fraction(index, 25) for index in range(100)]
    assert any("clock" in note.text for note in reader.notes)


def test_a_picture_larger_than_any_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8200, 8200, "gray"
        container.mux(stream.encode(av.VideoFrame(8200, 8200, "gray")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="8200x8200"):
        probe(path)


def test_what_is_known_of_a_file(tmp_path: Path) -> None:
    info = probe(make(tmp_path / "clip.mp4", Clip(frames=30, rate=Fraction(30000, 1001), aspect=Fraction(8, 9))))
    assert info == VideoInfo(
        width=96,
        height=64,
        time_base=Fraction(1, 30000),
        average_rate=Fraction(30000, 1001),
        frames=30,
        duration=Fraction(30 * 1001, 30000),
        sample_aspect_ratio=Fraction(8, 9),
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        audio_tracks=0,
        subtitle_tracks=0,
        origin=Fraction(0),
    )


def test_the_stream_with_the_most_pixels_is_read_and_cover_pictures_are_not(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        streams = []
        for codec, pix_fmt, size in (("mjpeg", "yuvj420p", (640, 480)), ("libx264", "yuv420p", (32, 32))):
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            streams.append(stream)
        large = container.add_stream("libx264", rate=25)
        large.width, large.height, large.pix_fmt = 96, 64, "yuv420p"
        streams.append(large)
        streams[0].disposition = av.stream.Disposition.attached_pic
        for stream in streams:
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(numbered(5, (96, 64)), format="rgb24").reformat(stream.width, stream.height)
            ):
                container.mux(packet)
            container.mux(stream.encode(None))
    assert (probe(path).width, probe(path).height) == (96, 64)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_data_says(orientation: int, suffix: str, tmp_path: Path) -> None:
    quadrants = np.zeros((48, 64, 3), np.uint8)
    quadrants[:24, :32], quadrants[:24, 32:], quadrants[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(quadrants).save(path, exif=exif, quality=95)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    image = converted(path).astype(int)
    assert image.shape == shown.shape
    rows, columns = (np.array([1, 3]) * side // 4 for side in shown.shape[:2])
    assert np.abs(image - shown)[np.ix_(rows, columns)].max() <= 6


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_an_animated_avif_is_its_track_and_not_the_still_picture_beside_it(tmp_path: Path) -> None:
    frames = [Image.fromarray(numbered(number, (96, 64))) for number in range(3)]
    frames[0].save(tmp_path / "anim.avif", save_all=True, append_images=frames[1:], duration=100, quality=90)
    with FrameReader(tmp_path / "anim.avif") as reader:
        assert [number_of(frame.image) for frame in reader] == [0, 1, 2]
