"""What is written: bytes that repeat, exact colours, sizes, masks, settings."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from video_clips import Clip, Sound, convert, look, make, numbered, read
from ycbcr import to_ycbcr

from birefnet_batch.errors import InputError, OutputError
from birefnet_batch.video.encode import EncodeSpec, Kind, open_part
from birefnet_batch.video.formats import FORMATS, Format
from birefnet_batch.video.join import JoinedFacts, join_parts
from birefnet_batch.video.reader import FrameReader

SPEC = EncodeSpec(
    output_type="X264 (.mp4)",
    quality="maximum",
    write_mode="fast",
    width=96,
    height=64,
    time_base=Fraction(1, 25),
    average_rate=Fraction(25),
    sample_aspect_ratio=None,
    threads=2,
)


def write(
    path: Path, images: list[NDArray[np.uint8]], spec: EncodeSpec, kind: Kind = "video", steps: list[int] | None = None
) -> JoinedFacts:
    """Write images as one file, at the given times or one a tick."""
    part = path.with_suffix(".part")
    times = steps or list(range(len(images)))
    with open_part(part, spec, kind) as writer:
        for image, pts in zip(images, times, strict=True):
            writer.write(image, pts, 1)
    return join_parts([part], path, spec, end=times[-1] + 1, audio_from=None, timeout_s=30)


def planes(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Any]:
    """The first frame's luma and chroma as coded, and the frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        coded = frame.to_ndarray()
        return coded[: frame.height], coded[frame.height :], frame


def ramp() -> NDArray[np.uint8]:
    """Grey from 0 to 255, left to right; (64, 256)."""
    return np.tile(np.arange(256, dtype=np.uint8), (64, 1))


@pytest.mark.parametrize("kind", ["video", "mask"])
def test_bytes_repeat(kind: Kind, tmp_path: Path) -> None:
    clip = Clip(
        frames=40, rate=Fraction(30000, 1001), size=(320, 240), sounds=(Sound(codec="flac"), Sound(codec="pcm_s16le"))
    )
    source = make(tmp_path / "clip.mkv", replace(clip, format="matroska"))
    outputs = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / f"{'x' * number}out.mp4"
        convert(source, path, cuts=(15,), kind=kind)
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]
    assert not re.search(rb"Lavf\d|Lavc\d", outputs[0])


def test_the_first_and_last_bytes_of_time_are_not_the_clock(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [np.zeros((64, 96, 3), np.uint8)], SPEC)
    data = (tmp_path / "out.mp4").read_bytes()
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.index(box) + 8
        assert data[at : at + 8] == bytes(8), box
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("quality", ["low", "medium", "high", "maximum"])
def test_grey_levels_stay(quality: str, tmp_path: Path) -> None:
    grey = ramp()
    spec = replace(SPEC, width=256, quality=quality)
    write(tmp_path / "out.mp4", [np.repeat(grey[..., None], 3, axis=2)] * 5, spec)
    image = _rgb(tmp_path / "out.mp4")
    assert np.abs(image.astype(int) - grey[..., None]).max() <= {"low": 5, "medium": 3}.get(quality, 2)


def _rgb(path: Path) -> NDArray[np.uint8]:
    with FrameReader(path) as reader:
        return next(iter(reader)).image.copy()


def test_colours_stay(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (4, 6, 3), np.uint8)
    image = np.ascontiguousarray(colours.repeat(16, axis=0).repeat(16, axis=1))
    write(tmp_path / "out.mp4", [image] * 3, SPEC)
    centres = _rgb(tmp_path / "out.mp4")[8::16, 8::16]
    assert np.abs(centres.astype(int) - colours).max() <= 6
    assert abs((centres.astype(int) - colours).mean()) < 0.5


def blues(path: Path) -> NDArray[np.float64]:
    """Blue's chroma as coded, away from the edges; (H, W) of half the size, whatever the file says of its place."""
    _, chroma, frame = planes(path)
    rows, columns = frame.height // 2, frame.width // 2
    return chroma.reshape(-1)[: rows * columns].reshape(rows, columns)[4:-4, 4:-4].astype(np.float64)


def test_chroma_lies_at_the_left_one_of_two_pixels_and_stays_there(tmp_path: Path) -> None:
    image = np.full((64, 96, 3), 100, np.uint8)
    image[..., 2] = 30 + 2 * np.arange(96)
    wanted = to_ycbcr(image.astype(np.float64), "bt709", False)[1][::2, ::2][4:-4, 4:-4]
    write(tmp_path / "once.mp4", [image] * 3, SPEC)
    convert(tmp_path / "once.mp4", tmp_path / "twice.mp4", quality="maximum")
    # Half a pixel is 0.44 of chroma.
    for name in ("once.mp4", "twice.mp4"):
        assert (blues(tmp_path / name) - wanted).mean() == pytest.approx(0, abs=0.1), name


def test_tags(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [np.zeros((64, 96, 3), np.uint8)], replace(SPEC, sample_aspect_ratio=Fraction(8, 9)))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert [int(tag) for tag in tags] == [1, 1, 1, 1]
        assert context.pix_fmt == "yuv420p"
        assert stream.sample_aspect_ratio == Fraction(8, 9)


@pytest.mark.parametrize("size", [(95, 64), (96, 63), (95, 63), (33, 17), (1, 1)], ids=str)
def test_odd_sizes_are_padded_by_repeating_the_edge(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, -1] = 200
    image[-1] = 200
    facts = write(tmp_path / "out.mp4", [image] * 2, replace(SPEC, width=width, height=height))
    assert (facts.width, facts.height) == (width + width % 2, height + height % 2)
    assert any("padded" in note for note in facts.notes)
    luma, _, frame = planes(tmp_path / "out.mp4")
    assert (frame.width, frame.height) == (facts.width, facts.height)
    edge = 16 + round(200 * 219 / 255)
    assert np.abs(luma[:, -1].astype(int) - edge).max() <= 4
    assert np.abs(luma[-1].astype(int) - edge).max() <= 4


def test_an_odd_source_keeps_its_frames(tmp_path: Path) -> None:
    clip = Clip(size=(95, 63), codec="ffv1", pix_fmt="yuv444p", format="matroska")
    source = make(tmp_path / "clip.mkv", clip)
    convert(source, tmp_path / "out.mp4", cuts=(3,))
    assert look(tmp_path / "out.mp4").numbers == list(range(20))


def test_a_mask_is_grey_with_neutral_chroma_and_full_contrast(tmp_path: Path) -> None:
    matte = np.zeros((64, 96), np.uint8)
    matte[:, 48:] = 255
    write(tmp_path / "out.mp4", [matte] * 3, replace(SPEC, quality="high"), "mask")
    luma, chroma, frame = planes(tmp_path / "out.mp4")
    assert set(np.unique(luma[:, :40])) == {16}
    assert set(np.unique(luma[:, 56:])) == {235}
    assert set(np.unique(chroma)) == {128}
    assert int(frame.color_range) == 1
    image = _rgb(tmp_path / "out.mp4")
    assert set(np.unique(image[:, :40])) == {0}
    assert set(np.unique(image[:, 56:])) == {255}


def test_every_level_of_a_mask_is_within_one(tmp_path: Path) -> None:
    matte = ramp()
    write(tmp_path / "out.mp4", [matte] * 3, replace(SPEC, width=256), "mask")
    assert np.abs(_rgb(tmp_path / "out.mp4").astype(int) - matte[..., None]).max() <= 2


def test_better_quality_is_larger_and_every_mode_works(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), np.uint8)
    images = [np.ascontiguousarray((image // 4) + 90) for image in noise]
    sizes = [
        write(tmp_path / f"{quality}.mp4", images, replace(SPEC, quality=quality)).size
        for quality in ("low", "medium", "high", "maximum")
    ]
    assert sizes == sorted(sizes)
    for mode in ("fast", "balanced", "small"):
        assert write(tmp_path / f"{mode}.mp4", images, replace(SPEC, write_mode=mode)).frames == 12


@pytest.mark.parametrize(
    ("time_base", "rate", "steps"),
    [
        (Fraction(1, 90000), Fraction(90000), [0, 1, 2]),
        (Fraction(1, 1000), None, [0, 1, 500_000]),
        (Fraction(1001, 30000), Fraction(30000, 1001), [0, 1, 2]),
        (Fraction(1, 500_000), Fraction(30), [0, 16_683, 33_367]),
        (Fraction(1, 1_000_000_000), Fraction(1000), [0, 41_666_000, 83_334_000]),
        (Fraction(1, 1), Fraction(1, 10), [0, 10, 20]),
        (Fraction(1, 25), Fraction(10**6, 7), [5, 6, 7]),
    ],
    ids=str,
)
def test_unusual_clocks(time_base: Fraction, rate: Fraction | None, steps: list[int], tmp_path: Path) -> None:
    images = [np.full((64, 96, 3), level, np.uint8) for level in (0, 100, 200)]
    spec = replace(SPEC, time_base=time_base, average_rate=rate)
    write(tmp_path / "out.mp4", images, spec, steps=steps)
    assert look(tmp_path / "out.mp4").times == [time_base * (step) for step in steps]


@pytest.mark.parametrize("output_type", ["X264 (.mp4)", "PRORES4444 (.mov)"])
@pytest.mark.parametrize(
    ("time_base", "tick"),
    [
        (Fraction(1, 1_000_000), Fraction(1, 500_000)),
        (Fraction(1, 10_000_000), Fraction(1, 500_000)),
        (Fraction(1, 1_000_000_000), Fraction(1, 500_000)),
        (Fraction(1, 1_200_000), Fraction(1, 400_000)),
        (Fraction(1_000_000, 29_970_029), Fraction(1, 90_000)),
    ],
    ids=str,
)
def test_a_frame_may_be_shown_for_an_hour_whatever_the_clock_of_the_source(
    time_base: Fraction, tick: Fraction, output_type: str, tmp_path: Path
) -> None:
    images = [np.full((64, 96, 3), level, np.uint8) for level in (0, 100, 200)]
    times = [round(second / time_base) for second in (0, Fraction(1, 3), 3600)]
    facts = write(tmp_path / "out", images, replace(SPEC, output_type=output_type, time_base=time_base), steps=times)
    nearest = [round(at * time_base / tick) * tick for at in times]
    assert look(tmp_path / "out").times == nearest
    assert facts.frames == 3


def test_frames_that_a_coarser_clock_cannot_tell_apart_keep_their_order(tmp_path: Path) -> None:
    spec = replace(SPEC, time_base=Fraction(1, 1_000_000_000))
    times = [0, 40_000_000, 40_000_001, 40_000_002, 80_000_000]
    parts = []
    for numbers in (range(2), range(2, 5)):
        parts.append(tmp_path / f"{numbers.start}.part")
        with open_part(parts[-1], spec, "video") as writer:
            for number in numbers:
                writer.write(numbered(number, (96, 64)), times[number], 1)
    join_parts(parts, tmp_path / "out.mp4", spec, end=120_000_000, audio_from=None, timeout_s=30)
    seen = look(tmp_path / "out.mp4")
    assert seen.numbers == list(range(5))
    assert [time * 500_000 for time in seen.times] == [0, 20_000, 20_001, 20_002, 40_000]


def test_a_clock_finer_than_the_encoder_counts_is_rounded(tmp_path: Path) -> None:
    spec = replace(SPEC, output_type="VP9 (.webm)", time_base=Fraction(1, 1_500_000_000))
    images = [np.full((64, 96, 3), level, np.uint8) for level in (0, 100, 200)]
    write(tmp_path / "out", images, spec, steps=[0, 60_000_000, 120_000_000])
    assert look(tmp_path / "out").times == [0, Fraction(1, 25), Fraction(2, 25)]


def test_key_frames_come_every_two_seconds(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=120))
    convert(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe and packet.size]
        assert all(after - before <= 50 * 512 for before, after in pairwise(keys))
        assert len(keys) >= 3


def test_segments_of_one_frame_each(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=6))
    convert(source, tmp_path / "out.mp4", cuts=(1, 2, 3, 4, 5))
    assert look(tmp_path / "out.mp4").numbers == list(range(6))
    assert read(tmp_path / "out.mp4").numbers == list(range(6))


def test_an_error_deletes_the_part(tmp_path: Path) -> None:
    part = tmp_path / "0.part"
    with pytest.raises(RuntimeError, match="stop"), open_part(part, SPEC, "video") as writer:
        writer.write(np.zeros((64, 96, 3), np.uint8), 0, 1)
        raise RuntimeError("stop")
    assert not part.exists()


def test_a_part_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"nowhere.*no such file"),
        open_part(tmp_path / "nowhere" / "0.part", SPEC, "video") as writer,
    ):
        writer.write(np.zeros((64, 96, 3), np.uint8), 0, 1)


def test_a_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    link = tmp_path / "0.part"
    link.symlink_to(full)
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), np.uint8)
    with pytest.raises(OutputError, match="no space left"), open_part(link, SPEC, "video") as writer:
        for number, image in enumerate(noise):
            writer.write(image, number, 1)


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.suffix)
def test_the_longest_side_is_encoded_and_a_longer_one_is_refused_before(form: Format, tmp_path: Path) -> None:
    longest = form.longest_side
    spec = replace(SPEC, output_type=form.output_type, width=longest, height=2)
    write(tmp_path / f"out{form.suffix}", [np.zeros((2, longest, 3), np.uint8)], spec)
    form.check_size(longest, 2)
    with pytest.raises(InputError, match=rf"has 2x{longest + 1} pixels, and .* takes sides of up to {longest}; "):
        form.check_size(2, longest + 1)
