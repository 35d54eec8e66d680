"""VP9, ProRes and GIF: alpha, times, sound, segments, bytes; read back by libvpx, by ffprobe and by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from math import floor
from pathlib import Path
from shutil import which
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray
from video_clips import Clip, Image, Sound, beep_start, convert, look, make, number_of, numbered

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.video.encode import EncodeSpec, Kind, open_part
from birefnet_batch.video.formats import FORMATS, format_of
from birefnet_batch.video.join import JoinedFacts, join_parts

VP9, PRORES, GIF = "VP9 (.webm)", "PRORES4444 (.mov)", "GIF (.gif)"
NEW = (VP9, PRORES, GIF)
NTSC = Fraction(30000, 1001)
UNEVEN = list(accumulate([33, 34, 33, 50, 67, 33, 20, 400, 33, 33, 34, 26, 27, 250, 33, 33, 33, 33, 33], initial=0))
SOURCES = {
    "25": Clip(),
    "ntsc": Clip(frames=60, rate=NTSC),
    "double ntsc": Clip(frames=60, rate=2 * NTSC),
    "variable": Clip(time_base=Fraction(1, 1000), times=UNEVEN, options={"bf": "2"}),
    "one frame": Clip(frames=1),
}
SPEC = EncodeSpec(
    output_type=VP9,
    quality="maximum",
    write_mode="fast",
    width=96,
    height=64,
    time_base=Fraction(1, 25),
    average_rate=Fraction(25),
    sample_aspect_ratio=None,
    threads=2,
    alpha=True,
)


def cut_out(number: int, size: tuple[int, int] = (96, 64)) -> Image:
    """A numbered picture whose alpha is a ramp from left to right, the upper eighth clear and the lower one full."""
    width, height = size
    alpha = np.tile((np.arange(width) * 255 // max(1, width - 1)).astype(np.uint8), (height, 1))
    alpha[: height // 8], alpha[-height // 8 :] = 0, 255
    return np.ascontiguousarray(np.dstack([numbered(number, size), alpha]))


def write(path: Path, images: list[Image], spec: EncodeSpec, kind: Kind = "video", parts: int = 1) -> JoinedFacts:
    """Write images, a tick each, in parts of equal length."""
    files = []
    size = -(-len(images) // parts)
    for first in range(0, len(images), size):
        files.append(path.with_suffix(f".{first}.part"))
        with open_part(files[-1], spec, kind) as writer:
            for number, image in enumerate(images[first : first + size], first):
                writer.write(image, number, 1)
    return join_parts(files, path, spec, end=len(images), audio_from=None, timeout_s=30)


def rgba_frames(path: Path) -> Iterator[Image]:
    """Decode with alpha: VP9 by libvpx, because FFmpeg's own decoder drops it."""
    with av.open(str(path)) as container:
        decoder: Any = None
        if path.suffix == ".webm":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(video=0):
            for frame in packet.decode() if decoder is None else decoder.decode(packet if packet.size else None):
                yield (
                    frame.reformat(
                        format="rgba",
                        src_colorspace=Colorspace.ITU709 if frame.format.name != "bgra" else None,
                        dst_color_range=ColorRange.JPEG,
                        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
                    ).to_ndarray()
                )


def expected_times(clip: Clip, output_type: str) -> list[Fraction]:
    """Each frame at the nearest tick of the container's clock."""
    base = clip.time_base or 1 / clip.rate
    exact = [base * tick for tick in clip.times or range(clip.frames)]
    tick = format_of(output_type).tick
    # Of two ticks that are equally near, libav takes the later one.
    return exact if tick is None else [floor(time / tick + Fraction(1, 2)) * tick for time in exact]


@pytest.mark.parametrize("output_type", NEW)
@pytest.mark.parametrize("name", SOURCES)
def test_every_frame_is_there_at_the_nearest_time(name: str, output_type: str, tmp_path: Path) -> None:
    clip, form = SOURCES[name], format_of(output_type)
    source = make(tmp_path / "clip.mp4", clip)
    cuts = tuple(cut for cut in (1, 13) if cut < clip.frames and form.joinable)
    path = tmp_path / f"out{form.suffix}"
    facts = convert(source, path, cuts=cuts, output_type=output_type)
    assert facts.frames == clip.frames
    assert facts.duration_s == pytest.approx(float(facts.frames / facts.fps))
    if output_type == GIF:
        # libav's reader turns delays of one hundredth into ten, as browsers do.
        assert _gif_times(path) == expected_times(clip, output_type)
        assert look(path).numbers == list(range(clip.frames))
        return
    seen = look(path)
    assert seen.numbers == list(range(clip.frames))
    assert seen.times == expected_times(clip, output_type)


def _gif_delays(path: Path) -> list[int]:
    """The delays of a GIF in hundredths, from its graphic control extensions (GIF89a, section 23)."""
    data = path.read_bytes()
    at, delays = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0), []
    while data[at] != 0x3B:
        if data[at] == 0x21:
            if data[at + 1] == 0xF9:
                delays.append(int.from_bytes(data[at + 4 : at + 6], "little"))
            at += 2
        else:
            packed = data[at + 9]
            at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        while data[at]:
            at += data[at] + 1
        at += 1
    return delays


def _gif_times(path: Path) -> list[Fraction]:
    return [Fraction(at, 100) for at in accumulate(_gif_delays(path)[:-1], initial=0)]


def test_the_errors_of_gif_delays_do_not_add_up(tmp_path: Path) -> None:
    clip = Clip(frames=120, rate=2 * NTSC)
    source = make(tmp_path / "clip.mp4", clip)
    convert(source, tmp_path / "out.gif", output_type=GIF)
    delays = _gif_delays(tmp_path / "out.gif")
    assert set(delays) == {1, 2}
    assert sum(delays) == round(120 * 100 / (2 * NTSC))


def test_times_of_a_gif_are_rounded_from_its_first_frame_on(tmp_path: Path) -> None:
    times = [7 + round(1000 * index / NTSC) for index in range(40)]
    # The sound begins at zero, so that the pictures are late.
    clip = Clip(frames=40, time_base=Fraction(1, 1000), times=times, format="matroska", sounds=(Sound(codec="flac"),))
    source = make(tmp_path / "clip.mkv", clip)
    convert(source, tmp_path / "out.gif", output_type=GIF)
    made = [100 * time for time in _gif_times(tmp_path / "out.gif")]
    assert all(abs(at - Fraction(time - 7, 10)) <= Fraction(1, 2) for at, time in zip(made, times, strict=True))


def test_a_gif_whose_pictures_begin_after_the_sound_lasts_as_long_as_its_pictures(tmp_path: Path) -> None:
    times = [3000 + 40 * number for number in range(50)]
    clip = Clip(frames=50, time_base=Fraction(1, 1000), times=times, sounds=(Sound(seconds=5.0),))
    facts = convert(make(tmp_path / "clip.mp4", clip), tmp_path / "out.gif", output_type=GIF)
    assert (facts.duration_s, facts.fps) == (2.0, 25.0)
    assert sum(_gif_delays(tmp_path / "out.gif")) == 200


def test_duration_and_rate_of_a_gif_are_not_rounded_to_its_clock(tmp_path: Path) -> None:
    facts = write(tmp_path / "out.gif", [cut_out(0)], replace(SPEC, output_type=GIF, time_base=Fraction(1, 24)))
    assert facts.fps == pytest.approx(24.0)


def test_more_frames_than_hundredths_are_all_kept(tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF, time_base=Fraction(1, 250))
    facts = write(tmp_path / "out.gif", [cut_out(number) for number in range(10)], spec)
    assert _gif_delays(tmp_path / "out.gif") == [1] * 10
    assert facts.frames == 10


@pytest.mark.parametrize("seconds", [655, Fraction(65535, 100), 700, Fraction(131070, 100), 1400])
def test_a_frame_of_a_gif_may_be_shown_for_longer_than_a_delay_can_say(seconds: Fraction, tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF, time_base=Fraction(1, 100), alpha=False)
    path, part = tmp_path / "out.gif", tmp_path / "part"
    times = [0, 100, 100 + int(seconds * 100)]
    end = times[-1] + int(seconds * 100)
    with open_part(part, spec, "video") as writer:
        for number, (at, following) in enumerate(pairwise((*times, end))):
            writer.write(numbered(number, (96, 64)), at, following - at)
    facts = join_parts([part], path, spec, end=end, audio_from=None, timeout_s=30)
    assert facts.frames == 3
    assert facts.duration_s == end / 100
    assert sum(_gif_delays(path)) == end
    seen = look(path)
    found = [round(100 * seen.times[seen.numbers.index(number)]) for number in range(3)]
    assert found == pytest.approx(times, abs=1)


@pytest.mark.parametrize("parts", [1, 2])
def test_frames_of_one_millisecond_are_all_kept_in_webm(parts: int, tmp_path: Path) -> None:
    spec = replace(SPEC, time_base=Fraction(1, 90000))
    facts = write(tmp_path / "out.webm", [cut_out(number) for number in range(10)], spec, parts=parts)
    assert facts.frames == 10
    seen = look(tmp_path / "out.webm")
    assert seen.numbers == list(range(10))
    assert seen.times == [Fraction(number, 1000) for number in range(10)]


@pytest.mark.parametrize(("rate", "hasty"), [(50, 0), (60, 3), (100, 9)])
def test_the_record_notes_frames_that_are_too_short_for_players(rate: int, hasty: int, tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF, time_base=Fraction(1, rate))
    notes = write(tmp_path / "out.gif", [cut_out(number) for number in range(10)], spec).notes
    assert _gif_delays(tmp_path / "out.gif")[:-1].count(1) == hasty
    assert [note.partition(",")[0] for note in notes] == [f"{hasty} of the 10 frames are shown for 10 ms"] * bool(hasty)
    assert all("Give video_output_type VP9 (.webm) or PRORES4444 (.mov)" in note for note in notes)


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize(("output_type", "limit"), [(VP9, 8), (PRORES, 1)])
def test_alpha_and_colours_come_back_from_every_part(output_type: str, limit: int, parts: int, tmp_path: Path) -> None:
    images = [cut_out(number) for number in range(10)]
    path = tmp_path / f"out{format_of(output_type).suffix}"
    spec = replace(SPEC, output_type=output_type, write_mode="balanced")
    write(path, images, spec, parts=parts)
    found = list(rgba_frames(path))
    assert len(found) == len(images)
    for number, (image, wanted) in enumerate(zip(found, images, strict=True)):
        assert number_of(image[..., :3]) == number
        assert np.abs(image[..., 3].astype(int) - wanted[..., 3]).max() <= limit
        colours = np.abs(image[..., :3].astype(int) - wanted[..., :3])
        assert colours.mean() < 3


def test_a_gif_is_clear_or_opaque_and_black_where_it_is_clear(tmp_path: Path) -> None:
    images = [cut_out(number) for number in range(4)]
    write(tmp_path / "out.gif", images, replace(SPEC, output_type=GIF))
    for number, (image, wanted) in enumerate(zip(rgba_frames(tmp_path / "out.gif"), images, strict=True)):
        opaque = wanted[..., 3] >= 128
        assert set(np.unique(image[..., 3])) == {0, 255}
        assert np.array_equal(image[..., 3] == 255, opaque)
        assert np.abs(image[opaque][:, :3].astype(int) - wanted[opaque][:, :3]).max() <= 4, number


# VP9 rounds a flat block to its quantiser's nearest multiple.
@pytest.mark.parametrize(("output_type", "limit"), [(VP9, 3), (PRORES, 1), (GIF, 0)])
def test_a_mask_of_every_type_is_grey_with_full_contrast(output_type: str, limit: int, tmp_path: Path) -> None:
    matte = np.zeros((64, 96), np.uint8)
    matte[:, 48:] = 255
    path = tmp_path / f"mask{format_of(output_type).suffix}"
    write(path, [matte] * 3, replace(SPEC, output_type=output_type, write_mode="balanced"), "mask")
    for image in rgba_frames(path):
        assert (image[..., 3] == 255).all()
        assert image[:, :40, :3].max() <= limit
        assert image[:, 56:, :3].min() >= 255 - limit


@pytest.mark.parametrize("output_type", NEW)
@pytest.mark.parametrize("size", [(95, 63), (33, 17)], ids=str)
def test_odd_sizes_stay(output_type: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / f"out{format_of(output_type).suffix}"
    spec = replace(SPEC, output_type=output_type, width=size[0], height=size[1])
    facts = write(path, [cut_out(number, size) for number in range(3)], spec)
    assert (facts.width, facts.height) == size
    assert [image.shape[:2] for image in rgba_frames(path)] == [size[::-1]] * 3


@pytest.mark.parametrize("kind", ["video", "mask"])
@pytest.mark.parametrize("output_type", NEW)
def test_bytes_repeat(output_type: str, kind: Kind, tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mkv", Clip(format="matroska", sounds=(Sound("flac"),)))
    form = format_of(output_type)
    made = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / f"{'x' * number}out{form.suffix}"
        convert(source, path, cuts=(7,) if form.joinable else (), kind=kind, output_type=output_type)
        made.append(path.read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("output_type", NEW)
def test_better_quality_is_larger_and_nearer(output_type: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    scene = np.kron(generator.integers(0, 256, (10, 14, 3)), np.ones((8, 8, 1))) + generator.normal(0, 12, (80, 112, 3))
    images = [_opaque(np.roll(scene, 2 * step, axis=1)[8:72, 8:104]) for step in range(8)]
    sizes, errors = [], []
    for quality in ("low", "medium", "high", "maximum"):
        path = tmp_path / f"{quality}{format_of(output_type).suffix}"
        spec = replace(SPEC, output_type=output_type, quality=quality, write_mode="balanced")
        sizes.append(write(path, images, spec).size)
        errors.append(np.mean([_error(a, b) for a, b in zip(rgba_frames(path), images, strict=True)]))
    assert all(before < after for before, after in pairwise(sizes))
    assert all(before > after for before, after in pairwise(errors))


def test_a_small_gif_needs_the_fewest_bytes_at_equal_error(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    scene = np.kron(generator.integers(0, 256, (10, 14, 3)), np.ones((16, 16, 1))) + generator.normal(
        0, 6, (160, 224, 3)
    )
    images = [_opaque(np.roll(scene, 2 * step, axis=1)[16:144, 16:208]) for step in range(4)]
    found = {}
    for mode in ("fast", "small"):
        path = tmp_path / f"{mode}.gif"
        spec = replace(SPEC, output_type=GIF, quality="medium", write_mode=mode, width=192, height=128)
        size = write(path, images, spec).size
        found[mode] = size, np.mean([_error(a, b) for a, b in zip(rgba_frames(path), images, strict=True)])
    assert found["small"][0] < 0.9 * found["fast"][0]
    assert found["small"][1] < 1.1 * found["fast"][1]


def test_colours_that_the_palette_has_stay_exact_in_a_small_gif(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    few = np.array([(10, 20, 30, 255), (12, 20, 30, 255), (10, 22, 30, 255), (200, 90, 5, 255), (0, 0, 0, 0)], np.uint8)
    images = [few[generator.integers(0, 5, (64, 96))] for _ in range(3)]
    write(tmp_path / "out.gif", images, replace(SPEC, output_type=GIF, write_mode="small"))
    for image, wanted in zip(rgba_frames(tmp_path / "out.gif"), images, strict=True):
        seen = wanted[..., 3] == 255
        assert np.array_equal(image[seen], wanted[seen])
        assert np.array_equal(image[..., 3], wanted[..., 3])


def _opaque(scene: NDArray[np.float64]) -> Image:
    full = np.full(scene.shape[:2], 255.0)
    return np.ascontiguousarray(np.dstack([scene, full]).clip(0, 255).astype(np.uint8))


def _error(image: Image, wanted: Image) -> float:
    return float(np.square(image[..., :3].astype(float) - wanted[..., :3]).mean())


def test_browsers_are_told_of_the_alpha(tmp_path: Path) -> None:
    write(tmp_path / "out.webm", [cut_out(number) for number in range(4)], SPEC, parts=2)
    with av.open(str(tmp_path / "out.webm")) as container:
        tags = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
    assert tags["alpha_mode"] == "1"


@pytest.mark.parametrize(
    ("output_type", "sound", "codec"),
    [
        (VP9, Sound("aac"), "opus"),
        (VP9, Sound("libopus"), "opus"),
        (VP9, Sound("pcm_s16le", rate=44100, layout="5.1"), "opus"),
        (VP9, Sound("ac3", layout="5.1"), "opus"),
        (PRORES, Sound("aac"), "aac"),
        (PRORES, Sound("pcm_s16le"), "pcm_s16le"),
        (PRORES, Sound("pcm_s32le"), "pcm_s32le"),
        (PRORES, Sound("pcm_f32le", layout="5.1"), "pcm_f32le"),
        (PRORES, Sound("pcm_f64le"), "pcm_f64le"),
        (PRORES, Sound("libopus"), "aac"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.codec,
)
def test_sound_is_copied_or_encoded_as_the_container_wants_it_and_in_step(
    output_type: str, sound: Sound, codec: str, tmp_path: Path
) -> None:
    source = make(tmp_path / "clip.mkv", Clip(format="matroska", sounds=(replace(sound, language="fra"),)))
    path = tmp_path / f"out{format_of(output_type).suffix}"
    facts = convert(source, path, cuts=(9,), output_type=output_type)
    assert facts.notes == ()
    with av.open(str(path)) as container:
        (track,) = container.streams.audio
        assert track.codec.canonical_name == codec
        assert track.language == "fra"
        assert track.codec_context.layout.nb_channels == (6 if "5.1" in sound.layout else 1)
    assert beep_start(path) == pytest.approx(beep_start(source), abs=0.004)


@pytest.mark.parametrize("output_type", ["X264 (.mp4)", VP9, PRORES])
def test_title_and_time_stay_and_the_place_does_not(output_type: str, tmp_path: Path) -> None:
    made = "2026-01-02T03:04:05.000000Z"
    tags = {"title": "A walk", "creation_time": made, "location": "+48.2082+016.3738/", "comment": "private"}
    source = make(tmp_path / "clip.mov", Clip(format="mov", tags=tags, muxer={"movflags": "use_metadata_tags"}))
    path = tmp_path / f"out{format_of(output_type).suffix}"
    convert(source, path, output_type=output_type)
    with av.open(str(path)) as container:
        found = {name.lower(): value for name, value in container.metadata.items()}
    assert (found["title"], found["creation_time"]) == ("A walk", made)
    assert b"48.2082" not in path.read_bytes()
    assert b"private" not in path.read_bytes()


@pytest.mark.parametrize("output_type", ["X264 (.mp4)", VP9, PRORES])
def test_chapters_stay(output_type: str, tmp_path: Path) -> None:
    chapters = ((0, 320, "Morning"), (320, 800, "Evening"))
    source = make(tmp_path / "clip.mkv", Clip(format="matroska", chapters=chapters))
    path = tmp_path / f"out{format_of(output_type).suffix}"
    convert(source, path, cuts=(9,), output_type=output_type)
    with av.open(str(path)) as container:
        found = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]
    assert found == [(start / 1000, end / 1000, title) for start, end, title in chapters]
    assert look(path).numbers == list(range(20))


def test_a_gif_is_silent(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(sounds=(Sound(),)))
    facts = convert(source, tmp_path / "out.gif", output_type=GIF)
    assert facts.frames == 20
    with av.open(str(tmp_path / "out.gif")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.skipif(which("ffprobe") is None, reason="ffprobe, the second reader, is not installed")
@pytest.mark.parametrize("output_type", NEW)
def test_ffprobe_reads_every_type_without_a_complaint(output_type: str, tmp_path: Path) -> None:
    clip = Clip(time_base=Fraction(1, 1000), times=UNEVEN, options={"bf": "3"}, sounds=(Sound(),))
    form = format_of(output_type)
    source = make(tmp_path / "clip.mp4", clip)
    path = tmp_path / f"out{form.suffix}"
    convert(source, path, cuts=(5, 6, 11) if form.joinable else (), output_type=output_type)
    run = subprocess.run(
        ["ffprobe", "-v", "warning", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    shown = [Fraction(line.split(",")[0]) for line in run.stdout.split()]
    wanted = expected_times(clip, output_type)
    assert [float(time) for time in shown] == pytest.approx([float(time) for time in wanted], abs=1e-6)


@pytest.mark.skipif(which("ffprobe") is None, reason="ffprobe, the second reader, is not installed")
@pytest.mark.parametrize("kind", ["video", "mask"])
def test_prores_says_that_it_is_4444_and_bt709_in_every_header(kind: Kind, tmp_path: Path) -> None:
    images = [cut_out(number) for number in range(4)]
    path = tmp_path / "clip.mov"
    write(
        path,
        images if kind == "video" else [image[..., 3] for image in images],
        replace(SPEC, output_type=PRORES),
        kind,
        parts=2,
    )
    entries = "stream=codec_tag_string,profile,color_primaries,color_transfer,color_space"
    words = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0"]
    for file in (path, *tmp_path.glob("*.part")):
        found = subprocess.run([*words, file], capture_output=True, text=True, check=True).stdout.strip()
        assert found == "4444,ap4h,bt709,bt709,bt709"
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            # SMPTE RDD 36: the frame's size and "icpf", then its header; 14 to 16 are primaries, transfer, matrix.
            assert not packet.size or bytes(packet)[8 + 14 : 8 + 17] == b"\x01\x01\x01"


def test_a_gif_of_two_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be joined of 2 parts; keep the video whole"):
        write(tmp_path / "out.gif", [cut_out(number) for number in range(4)], replace(SPEC, output_type=GIF), parts=2)


def test_nothing_waits_on_disk_after_a_gif_or_an_error(tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF)
    write(tmp_path / "out.gif", [cut_out(0)], spec)
    with pytest.raises(RuntimeError, match="stop"), open_part(tmp_path / "0.part", spec, "video") as writer:
        writer.write(cut_out(0), 0, 1)
        raise RuntimeError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


def test_a_gif_that_outgrows_its_scratch_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birefnet_batch.video.gif.MOST_SCRATCH_BYTES", 50_000)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 4), np.uint8)
    spec = replace(SPEC, output_type=GIF)
    with pytest.raises(OutputError, match=r"give another video_output_type"):
        write(tmp_path / "out.gif", [noise] * 40, spec)


def test_an_unknown_type_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"AV1 \(\.mp4\) is not written by this version; give X264"):
        format_of("AV1 (.mp4)")
    assert set(FORMATS) == {"X264 (.mp4)", *NEW}


def test_a_gif_keeps_no_frame_in_memory_while_it_waits_for_its_palette(tmp_path: Path) -> None:
    code = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from test_output_types import GIF, SPEC, open_part
with open_part(Path(sys.argv[1]), replace(SPEC, output_type=GIF, width=640, height=360), "video") as writer:
    for number in range(120):
        if number == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer.write(np.full((360, 640, 4), number, np.uint8), number, 1)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.gif")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    # A hundred frames of 0.9 MB each.
    assert int(done.stdout) < 20
