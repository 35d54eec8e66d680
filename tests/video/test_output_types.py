"""VP9, ProRes and GIF: alpha, times, sound, segments, bytes; read back by libvpx, by ffprobe and by hand."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from output_types import (
    GIF,
    NEW,
    NTSC,
    PRORES,
    SPEC,
    UNEVEN,
    VP9,
    cut_out,
    error_of,
    expected_times,
    gif_times,
    opaque_picture,
    rgba_frames,
    write,
)
from video_clips import Clip, Sound, beep_start, convert, look, make, number_of

from birefnet_batch.errors import ConfigError
from birefnet_batch.video.encode import Kind
from birefnet_batch.video.formats import FORMATS, format_of

SOURCES = {
    "25": Clip(),
    "ntsc": Clip(frames=60, rate=NTSC),
    "double ntsc": Clip(frames=60, rate=2 * NTSC),
    "variable": Clip(time_base=Fraction(1, 1000), times=UNEVEN, options={"bf": "2"}),
    "one frame": Clip(frames=1),
}


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
        assert gif_times(path) == expected_times(clip, output_type)
        assert look(path).numbers == list(range(clip.frames))
        return
    seen = look(path)
    assert seen.numbers == list(range(clip.frames))
    assert seen.times == expected_times(clip, output_type)


@pytest.mark.parametrize("parts", [1, 2])
def test_frames_of_one_millisecond_are_all_kept_in_webm(parts: int, tmp_path: Path) -> None:
    spec = replace(SPEC, time_base=Fraction(1, 90000))
    facts = write(tmp_path / "out.webm", [cut_out(number) for number in range(10)], spec, parts=parts)
    assert facts.frames == 10
    seen = look(tmp_path / "out.webm")
    assert seen.numbers == list(range(10))
    assert seen.times == [Fraction(number, 1000) for number in range(10)]


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
    images = [opaque_picture(np.roll(scene, 2 * step, axis=1)[8:72, 8:104]) for step in range(8)]
    sizes, errors = [], []
    for quality in ("low", "medium", "high", "maximum"):
        path = tmp_path / f"{quality}{format_of(output_type).suffix}"
        spec = replace(SPEC, output_type=output_type, quality=quality, write_mode="balanced")
        sizes.append(write(path, images, spec).size)
        errors.append(np.mean([error_of(a, b) for a, b in zip(rgba_frames(path), images, strict=True)]))
    assert all(before < after for before, after in pairwise(sizes))
    assert all(before > after for before, after in pairwise(errors))


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


def test_an_unknown_type_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"AV1 \(\.mp4\) is not written by this version; give X264"):
        format_of("AV1 (.mp4)")
    assert set(FORMATS) == {"X264 (.mp4)", *NEW}
