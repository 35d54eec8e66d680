"""Numbered images as one video."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet_batch import Request, Settings, run
from birefnet_batch.errors import ConfigError, InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.stems import stem_of
from birefnet_batch.storage import open_source, source_facts
from birefnet_batch.uris import canonical_uri, is_local
from birefnet_batch.video.reader import FrameReader

SETTINGS = StorageSettings(sequence_fps="23.976")


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)


def shot(folder: Path, suffix: str = ".png", first: int = 998, count: int = 5) -> str:
    """The URI of a sequence that runs over a power of ten, with other files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(picture(number)).save(folder / f"f_{number:04d}{suffix}", quality=95)
    (folder / "notes.txt").write_text("no image")
    (folder / f"f_12{suffix}").write_bytes(b"of another sequence")
    return canonical_uri(str(folder / f"f_%04d{suffix}"), folder)


def read(uri: str, scratch: Path, settings: StorageSettings = SETTINGS) -> tuple[list[np.ndarray], list[Fraction], str]:
    with open_source(uri, source_facts(uri, settings), scratch, settings) as source:
        images, times = [], []
        with FrameReader(source.path) as reader:
            for frame in reader:
                images.append(frame.image.copy())
                times.append(frame.pts * reader.info.time_base)
                frame.release()
        return images, times, source.sha256()


def test_images_are_frames_in_the_order_of_their_numbers_at_the_rate_that_was_set(tmp_path: Path) -> None:
    images, times, sha256 = read(shot(tmp_path / "shot"), tmp_path)
    assert times == [Fraction(1001 * number, 24000) for number in range(5)]
    assert all(np.array_equal(image, picture(998 + number)) for number, image in enumerate(images))
    paths = [tmp_path / "shot" / f"f_{number:04d}.png" for number in range(998, 1003)]
    assert sha256 == hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    assert not (tmp_path / "source").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("closed/f_%04d.png", "cannot be read: permission denied"),
        (f"{'f' * 300}_%04d.png", "does not exist, as a file"),
    ],
)
def test_images_that_cannot_be_looked_at_are_one_clear_error(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *others: Any, **named: Any) -> Any:
            if "closed" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *others, **named)

        return refuse

    monkeypatch.setattr(os, "stat", refusing(os.stat))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    uri = canonical_uri(name, tmp_path)
    assert not is_local(uri)
    with pytest.raises(InputError, match=reason):
        source_facts(uri, SETTINGS)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".tga", ".PNG"])
def test_other_kinds_of_images_are_read(suffix: str, tmp_path: Path) -> None:
    images, times, _ = read(shot(tmp_path, suffix), tmp_path)
    assert len(images) == len(times) == 5
    if suffix != ".jpg":
        assert all(np.array_equal(image, picture(998 + number)) for number, image in enumerate(images))


def test_sixteen_bits_and_a_number_without_zeros(tmp_path: Path) -> None:
    for number in (9, 10):
        Image.fromarray(np.full((8, 8), 1000 * number, np.uint16)).save(tmp_path / f"{number}.png")
    uri = canonical_uri("%d.png", tmp_path)
    with (
        open_source(uri, source_facts(uri, SETTINGS), tmp_path, SETTINGS) as source,
        FrameReader(source.path, wide=True) as reader,
    ):
        assert reader.info.bits == 16
        assert [int(frame.image[4, 4, 0]) for frame in reader] == [9000, 10000]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "f_%04d.png").write_bytes(b"one")
    assert is_local(canonical_uri("f_%04d.png", tmp_path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("f_%04d.exr", "give PNG, JPEG, TIFF or TGA images"),
        ("g_%04d.png", "does not exist, as a file or as numbered images"),
        ("f_%06d.png", "does not exist, as a file or as numbered images"),
        ("none/f_%04d.png", "none cannot be read"),
    ],
)
def test_what_is_no_sequence_is_one_clear_error(name: str, said: str, tmp_path: Path) -> None:
    shot(tmp_path)
    with pytest.raises(InputError, match=said):
        source_facts(canonical_uri(name, tmp_path), SETTINGS)


def test_a_missing_frame_is_named(tmp_path: Path) -> None:
    uri = shot(tmp_path)
    (tmp_path / "f_1000.png").unlink()
    with pytest.raises(InputError, match="has no frame 1000: after 999 comes 1001"):
        source_facts(uri, SETTINGS)


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    uri = shot(tmp_path)
    (tmp_path / "f_0998.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"f_0998\.png is no image"):
        read(uri, tmp_path)


def test_a_pipe_or_a_link_to_nothing_among_the_images_is_named_and_not_waited_for(tmp_path: Path) -> None:
    uri, image = shot(tmp_path), tmp_path / "f_1000.png"
    image.unlink()
    os.mkfifo(image)
    with pytest.raises(InputError, match=r"f_1000\.png is no regular file"):
        source_facts(uri, SETTINGS)
    image.unlink()
    image.symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"f_1000\.png cannot be read: no such file"):
        source_facts(uri, SETTINGS)


def test_another_image_or_rate_is_another_version(tmp_path: Path) -> None:
    uri = shot(tmp_path)
    facts = source_facts(uri, SETTINGS)
    assert source_facts(uri, SETTINGS) == facts
    assert source_facts(uri, StorageSettings(sequence_fps="24")) != facts
    os.utime(tmp_path / "f_1001.png", (1, 1))
    assert source_facts(uri, SETTINGS) != facts


@pytest.mark.parametrize("rate", ["0", "fast", "-1", "1/0", "5000"])
def test_what_is_no_rate_is_said_before_the_run(rate: str) -> None:
    with pytest.raises(ConfigError, match="storage.sequence_fps is"):
        StorageSettings(sequence_fps=rate).sequence_rate  # noqa: B018
    assert StorageSettings(sequence_fps="29.97").sequence_rate == Fraction(30000, 1001)
    assert StorageSettings(sequence_fps="12.5").sequence_rate == Fraction(25, 2)


def test_jobs_are_named_after_the_sequence_or_its_folder() -> None:
    assert stem_of("file:///shots/hero_%2504d.png") == "hero"
    assert stem_of("file:///shots/sc010/%2504d.png") == "sc010"


def test_a_folder_of_images_says_how_to_name_them(tmp_path: Path) -> None:
    shot(tmp_path / "shot")
    with pytest.raises(InputError, match=r"its images are one video as .*shot/f_%04d\.png"):
        source_facts(canonical_uri("shot", tmp_path), SETTINGS)


def test_a_run_cuts_a_sequence_out_and_knows_it_when_it_is_done(tmp_path: Path) -> None:
    shot(tmp_path / "shot", count=8)
    request = Request.from_dict(
        {"video_url": str(tmp_path / "shot" / "f_%04d.png"), "model": "demo", "operating_resolution": 256}
    )
    settings = Settings(output=str(tmp_path / "out"), storage=StorageSettings(sequence_fps="24"))
    assert run(settings, [request]).succeeded == 1
    record = json.loads(next((tmp_path / "out" / "jobs").glob("f-*/job.json")).read_text())
    assert record["source"]["frames"] == 8
    assert record["source"]["uri"].endswith("/shot/f_%2504d.png")
    result = json.loads(next((tmp_path / "out" / "jobs").glob("f-*/result.json")).read_text())
    assert result["video"]["fps"] == pytest.approx(24)
    assert run(settings, [request]).skipped == 1
    Image.fromarray(picture(1)).save(tmp_path / "shot" / "f_1000.png")
    assert run(settings, [request]).succeeded == 1
