"""GIF: delays, palettes, transparency, and what there cannot be in one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from output_types import GIF, NTSC, SPEC, cut_out, error_of, gif_delays, gif_times, opaque_picture, rgba_frames, write
from video_clips import Clip, Sound, convert, look, make, numbered

from birefnet_batch.errors import OutputError
from birefnet_batch.video.encode import open_part
from birefnet_batch.video.join import join_parts


def test_the_errors_of_gif_delays_do_not_add_up(tmp_path: Path) -> None:
    clip = Clip(frames=120, rate=2 * NTSC)
    source = make(tmp_path / "clip.mp4", clip)
    convert(source, tmp_path / "out.gif", output_type=GIF)
    delays = gif_delays(tmp_path / "out.gif")
    assert set(delays) == {1, 2}
    assert sum(delays) == round(120 * 100 / (2 * NTSC))


def test_times_of_a_gif_are_rounded_from_its_first_frame_on(tmp_path: Path) -> None:
    times = [7 + round(1000 * index / NTSC) for index in range(40)]
    # The sound begins at zero, so that the pictures are late.
    clip = Clip(frames=40, time_base=Fraction(1, 1000), times=times, format="matroska", sounds=(Sound(codec="flac"),))
    source = make(tmp_path / "clip.mkv", clip)
    convert(source, tmp_path / "out.gif", output_type=GIF)
    made = [100 * time for time in gif_times(tmp_path / "out.gif")]
    assert all(abs(at - Fraction(time - 7, 10)) <= Fraction(1, 2) for at, time in zip(made, times, strict=True))


def test_a_gif_whose_pictures_begin_after_the_sound_lasts_as_long_as_its_pictures(tmp_path: Path) -> None:
    times = [3000 + 40 * number for number in range(50)]
    clip = Clip(frames=50, time_base=Fraction(1, 1000), times=times, sounds=(Sound(seconds=5.0),))
    facts = convert(make(tmp_path / "clip.mp4", clip), tmp_path / "out.gif", output_type=GIF)
    assert (facts.duration_s, facts.fps) == (2.0, 25.0)
    assert sum(gif_delays(tmp_path / "out.gif")) == 200


def test_duration_and_rate_of_a_gif_are_not_rounded_to_its_clock(tmp_path: Path) -> None:
    facts = write(tmp_path / "out.gif", [cut_out(0)], replace(SPEC, output_type=GIF, time_base=Fraction(1, 24)))
    assert facts.fps == pytest.approx(24.0)


def test_more_frames_than_hundredths_are_all_kept(tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF, time_base=Fraction(1, 250))
    facts = write(tmp_path / "out.gif", [cut_out(number) for number in range(10)], spec)
    assert gif_delays(tmp_path / "out.gif") == [1] * 10
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
    assert sum(gif_delays(path)) == end
    seen = look(path)
    found = [round(100 * seen.times[seen.numbers.index(number)]) for number in range(3)]
    assert found == pytest.approx(times, abs=1)


@pytest.mark.parametrize(("rate", "hasty"), [(50, 0), (60, 3), (100, 9)])
def test_the_record_notes_frames_that_are_too_short_for_players(rate: int, hasty: int, tmp_path: Path) -> None:
    spec = replace(SPEC, output_type=GIF, time_base=Fraction(1, rate))
    notes = write(tmp_path / "out.gif", [cut_out(number) for number in range(10)], spec).notes
    assert gif_delays(tmp_path / "out.gif")[:-1].count(1) == hasty
    assert [note.partition(",")[0] for note in notes] == [f"{hasty} of the 10 frames are shown for 10 ms"] * bool(hasty)
    assert all("Give video_output_type VP9 (.webm) or PRORES4444 (.mov)" in note for note in notes)


def test_a_gif_is_clear_or_opaque_and_black_where_it_is_clear(tmp_path: Path) -> None:
    images = [cut_out(number) for number in range(4)]
    write(tmp_path / "out.gif", images, replace(SPEC, output_type=GIF))
    for number, (image, wanted) in enumerate(zip(rgba_frames(tmp_path / "out.gif"), images, strict=True)):
        opaque = wanted[..., 3] >= 128
        assert set(np.unique(image[..., 3])) == {0, 255}
        assert np.array_equal(image[..., 3] == 255, opaque)
        assert np.abs(image[opaque][:, :3].astype(int) - wanted[opaque][:, :3]).max() <= 4, number


def test_a_small_gif_needs_the_fewest_bytes_at_equal_error(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    scene = np.kron(generator.integers(0, 256, (10, 14, 3)), np.ones((16, 16, 1))) + generator.normal(
        0, 6, (160, 224, 3)
    )
    images = [opaque_picture(np.roll(scene, 2 * step, axis=1)[16:144, 16:208]) for step in range(4)]
    found = {}
    for mode in ("fast", "small"):
        path = tmp_path / f"{mode}.gif"
        spec = replace(SPEC, output_type=GIF, quality="medium", write_mode=mode, width=192, height=128)
        size = write(path, images, spec).size
        found[mode] = size, np.mean([error_of(a, b) for a, b in zip(rgba_frames(path), images, strict=True)])
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


def test_a_gif_is_silent(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(sounds=(Sound(),)))
    facts = convert(source, tmp_path / "out.gif", output_type=GIF)
    assert facts.frames == 20
    with av.open(str(tmp_path / "out.gif")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


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


def test_a_gif_keeps_no_frame_in_memory_while_it_waits_for_its_palette(tmp_path: Path) -> None:
    code = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from birefnet_batch.video.encode import open_part
from output_types import GIF, SPEC
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
