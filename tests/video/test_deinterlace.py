"""Interlaced input."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from video_clips import Clip, make

from birefnet_batch.counted import Note
from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import MediaSettings
from birefnet_batch.video.deinterlace import Deinterlacer
from birefnet_batch.video.info import Keyframe, split
from birefnet_batch.video.keyframes import find_keyframes
from birefnet_batch.video.picture import Picture
from birefnet_batch.video.reader import FrameReader

WIDTH, HEIGHT, FRAMES = 96, 64, 40
Images = NDArray[np.uint8]


def fields_file(path: Path, interlaced: bool = True) -> Path:
    """A bar that moves on by 3 pixels a field, the upper line's field first, with a keyframe each ten frames."""
    flags = {"x264-params": "tff=1"} if interlaced else {}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8", "g": "10", "sc_threshold": "0", **flags})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
            for field in range(2):
                left = (2 * index + field) * 3 % WIDTH
                image[field::2, left : left + 16] = 220
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fields_file(tmp_path_factory.mktemp("fields") / "fields.mp4")


def frames_of(
    path: Path, mode: str, start: Keyframe | int = 0, stop: Keyframe | int | None = None
) -> tuple[Images, list[int], list[Note]]:
    with FrameReader(path, deinterlace=mode, start=start, stop=stop) as reader:
        images, times = [], []
        for frame in reader:
            images.append(frame.image.copy())
            times.append(frame.pts)
            frame.release()
    return np.stack(images), times, reader.notes


def combing(images: Images) -> float:
    """How much the lines of a column differ from both neighbours, on average."""
    lines = images[..., 1].astype(int)
    middle, above, below = lines[:, 1:-1], lines[:, :-2], lines[:, 2:]
    return float(np.minimum(np.abs(middle - above), np.abs(middle - below)).mean())


def test_interlaced_frames_are_deinterlaced_one_for_one_with_their_times(interlaced: Path) -> None:
    as_it_is, times, _ = frames_of(interlaced, "off")
    images, same_times, notes = frames_of(interlaced, "auto")
    assert same_times == times
    assert len(images) == FRAMES
    assert combing(images) < combing(as_it_is) / 10
    assert Note("frames were deinterlaced", FRAMES) in notes


def test_a_segment_has_the_same_pictures_as_the_whole_video(interlaced: Path) -> None:
    whole, times, _ = frames_of(interlaced, "auto")
    keyframes = find_keyframes(interlaced).keyframes
    edges: list[Keyframe | None] = [None, *keyframes[1:], None]
    assert len(edges) == 5
    place = 0
    for start, stop in pairwise(edges):
        images, segment_times, notes = frames_of(interlaced, "auto", start or 0, stop)
        np.testing.assert_array_equal(images, whole[place : place + len(images)])
        assert segment_times == times[place : place + len(images)]
        assert Note("frames were deinterlaced", len(images)) in notes
        place += len(images)
    assert place == FRAMES


def test_frames_that_are_not_marked_pass_unchanged_unless_all_are_wanted(tmp_path: Path) -> None:
    path = fields_file(tmp_path / "unmarked.mp4", interlaced=False)
    as_it_is, _, _ = frames_of(path, "off")
    images, _, notes = frames_of(path, "auto")
    np.testing.assert_array_equal(images, as_it_is)
    assert notes == []
    forced, _, _ = frames_of(path, "on")
    assert combing(forced) < combing(as_it_is) / 2
    keyframe = find_keyframes(path).keyframes[2]
    np.testing.assert_array_equal(frames_of(path, "on", keyframe)[0], forced[keyframe.frame :])


def test_frames_of_another_size_are_deinterlaced_among_themselves(tmp_path: Path) -> None:
    options = {"x264-params": "tff=1"}
    paths = [
        make(tmp_path / f"{width}.ts", Clip(frames=5, size=(width, 64), format="mpegts", options=options))
        for width in (96, 192)
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    images, times, notes = frames_of(both, "auto")
    assert len(images) == len(set(times)) == 10
    assert Note("frames were deinterlaced", 10) in notes


def plain_frame(pix_fmt: str, height: int, matrix: int, full: bool) -> av.VideoFrame:
    """A saturated colour, half clear where the format has alpha."""
    luma, blue, red = 150, 90, 170
    frame = av.VideoFrame(64, height, pix_fmt)
    packed = {
        "uyvy422": [(blue, luma, red, luma)],
        "yuyv422": [(luma, blue, luma, red)],
        "nv12": [(luma,), (blue, red)],
    }
    values = packed.get(pix_fmt) or [(luma,), (blue,), (red,), (128,)]
    for plane, level in zip(frame.planes, values, strict=pix_fmt in packed or "a" in pix_fmt):
        wide = pix_fmt.endswith("12le")
        samples = np.frombuffer(memoryview(plane), np.uint16 if wide else np.uint8)
        samples[:] = np.resize(np.array(level) * (16 if wide else 1), samples.size)
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def as_read(frame: av.VideoFrame, first: av.VideoFrame, wide: bool) -> tuple[list[int], int | None]:
    picture = Picture(first, wide)
    memory = np.zeros(frame.width * frame.height * (4 if picture.alpha else 3) * (2 if wide else 1), np.uint8)
    picture.write(frame, memory)
    colours, alpha = split(memory, frame.width, frame.height, wide)
    return colours[20, 20].tolist(), None if alpha is None else int(alpha[20, 20])


@pytest.mark.parametrize("height", [64, 720])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 2, 5, 9])
@pytest.mark.parametrize("pix_fmt", ["uyvy422", "yuyv422", "nv12", "yuva444p12le", "yuv422p"])
def test_colours_stay_whatever_format_the_filter_takes(pix_fmt: str, matrix: int, full: bool, height: int) -> None:
    frames = [plain_frame(pix_fmt, height, matrix, full) for _ in range(3)]
    made = list(Deinterlacer("on").frames(frames))
    (wanted, wanted_alpha), (found, found_alpha) = (as_read(images[1], frames[0], True) for images in (frames, made))
    assert found == pytest.approx(wanted, abs=16)
    assert found_alpha == (None if wanted_alpha is None else pytest.approx(wanted_alpha, abs=16))


@pytest.mark.parametrize(("matrix", "levels"), [(3, 1), (18, 1), (255, 1), (1, 7)])
def test_colours_that_no_standard_defines_are_deinterlaced_as_untagged_ones(matrix: int, levels: int) -> None:
    frames = [plain_frame("yuv420p", 64, 1, False) for _ in range(3)]
    for frame in frames:
        frame.colorspace, frame.color_range = matrix, levels
    made = list(Deinterlacer("on").frames(frames))
    assert len(made) == 3
    assert as_read(made[1], frames[0], False) == as_read(frames[1], frames[0], False)


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [("yuv420p", (16, 6)), ("yuv420p", (4, 16)), ("yuv411p", (8, 16)), ("rgb24", (2, 16)), ("gray", (16, 3))],
)
def test_frames_that_are_too_small_for_the_filter_pass_unchanged(pix_fmt: str, size: tuple[int, int]) -> None:
    deinterlacer = Deinterlacer("on")
    frames = [av.VideoFrame(*size, pix_fmt) for _ in range(3)]
    assert list(deinterlacer.frames(frames)) == frames
    assert not deinterlacer.changed


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray12le", "gray16le", "gray16be"])
def test_grey_keeps_its_range(pix_fmt: str, full: bool, wide: bool) -> None:
    bits = av.VideoFormat(pix_fmt).components[0].bits
    frames = []
    for _ in range(3):
        frame = av.VideoFrame(64, 64, pix_fmt)
        kind = ">u2" if pix_fmt.endswith("be") else np.uint8 if bits == 8 else "<u2"
        np.frombuffer(memoryview(frame.planes[0]), kind)[:] = 100 << (bits - 8)
        frame.color_range = 2 if full else 1
        frames.append(frame)
    made = list(Deinterlacer("on").frames(frames))
    (wanted, _), (found, _) = (as_read(images[1], frames[0], wide) for images in (frames, made))
    assert found == pytest.approx(wanted, abs=64 if wide else 0)


def test_a_palette_keeps_its_clear_colours() -> None:
    frames = []
    for _ in range(3):
        frame = av.VideoFrame(64, 64, "pal8")
        for plane, value in zip(frame.planes, (3, 0), strict=True):
            np.frombuffer(memoryview(plane), np.uint8)[:] = value
        # Blue, green, red, alpha of colour 3.
        np.frombuffer(memoryview(frame.planes[1]), np.uint8)[12:16] = (10, 20, 200, 77)
        frames.append(frame)
    made = list(Deinterlacer("on").frames(frames))
    assert as_read(made[1], frames[0], False) == as_read(frames[1], frames[0], False)
    assert as_read(made[1], frames[0], False)[1] == 77


def test_the_pictures_are_those_of_ffmpeg(interlaced: Path) -> None:
    if which("ffmpeg") is None:
        pytest.skip("ffmpeg, the judge of the pictures, is not installed")
    command = ["ffmpeg", "-v", "error", "-i", str(interlaced), "-vf", "bwdif=mode=send_frame", "-f", "rawvideo"]
    command += ["-sws_flags", "accurate_rnd+full_chroma_int+bilinear", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    judge = np.frombuffer(raw, np.uint8).reshape(FRAMES, HEIGHT, WIDTH, 3)
    images, _, _ = frames_of(interlaced, "auto")
    # The first frame has no neighbour before it: releases of libav make other things of its edge lines.
    assert np.abs(images.astype(int) - judge)[1:].max() <= 2


def test_the_setting_takes_what_yaml_makes_of_on_and_off() -> None:
    wishes = [MediaSettings(deinterlace=value).deinterlace_wish for value in ("auto", True, False, "ON")]
    assert wishes == ["auto", "on", "off", "on"]
    with pytest.raises(ConfigError, match="give auto, on or off"):
        _ = MediaSettings(deinterlace="maybe").deinterlace_wish
