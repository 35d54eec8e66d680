"""Pictures of a size that we bound, without a word of Pillow's on the console."""

from __future__ import annotations

import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.device_streams import DeviceStreams
from birefnet_batch.errors import ConfigError, InputError
from birefnet_batch.painter import Painter
from birefnet_batch.pictures import open_picture, with_bytes
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.sequence_source import pack_sequence


def claim(path: Path, width: int, height: int) -> Path:
    """A PNG file whose header says that it has so many pixels, and no more."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    return path


@pytest.mark.parametrize("width", [10_000, 100_000], ids=["Pillow would warn", "Pillow refuses"])
def test_what_is_too_large_is_refused_by_our_own_bound(width: int, tmp_path: Path) -> None:
    path = claim(tmp_path / "large_00.png", width, 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="more than 67108864 pixels"), open_picture(path):
            pass
        with (
            pytest.raises(ConfigError, match=r"large_00.png cannot be read as a picture: .*more than 67108864 pixels"),
            Painter(Backdrop("picture", path=path), DeviceStreams(torch.device("cpu")), Fraction(1, 25), 20) as painter,
        ):
            painter.paint(torch.zeros(1, 3, 8, 8), [0])
        with pytest.raises(InputError, match="more than 67108864 pixels"):
            pack_sequence(tmp_path / "large_%02d.png", tmp_path / "out.mov", StorageSettings())


def broken(path: Path) -> Path:
    """A noisy picture with a damage for which Pillow has no error of its own."""
    noise = Image.effect_noise((300, 300), 100)
    if path.suffix == ".png":
        noise.save(path)
        # A chunk that has no name, between two of the pixels'.
        head, *others = path.read_bytes().split(b"IDAT")
        path.write_bytes(head + b"IDAT" + b"(=)T".join(others))
    else:
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "hello"
        noise.save(path, exif=exif)
        # A text, where a number of colours belongs.
        path.write_bytes(path.read_bytes().replace(b"\x01\x0e\x00\x02", b"\x01\x15\x00\x02"))
    return path


@pytest.mark.parametrize("name", ["chunk.png", "exif.jpg"])
def test_a_damaged_picture_behind_the_subject_is_one_clear_error(name: str, tmp_path: Path) -> None:
    path = broken(tmp_path / name)
    with (
        Painter(Backdrop("picture", path=path), DeviceStreams(torch.device("cpu")), Fraction(1, 25), 20) as painter,
        pytest.raises(ConfigError, match=rf"{name} cannot be read as a picture: it is damaged \(.*\); save it again"),
    ):
        painter.paint(torch.zeros(1, 3, 8, 8), [0])


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_grey_of_16_bits_behind_the_subject_keeps_its_light(name: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / name)
    streams = DeviceStreams(torch.device("cpu"))
    with Painter(Backdrop("picture", path=tmp_path / name), streams, Fraction(1, 25), 20) as painter:
        found = painter.paint(torch.zeros(1, 3, 8, 8), [0])
    assert np.abs(found.numpy() - ramp / 65535).max() < 1 / 255


@pytest.mark.parametrize(
    ("levels", "why"),
    [(np.ones((4, 4), np.float32), "are floating point"), (np.full((4, 4), 70000, np.int32), "from 70000 to 70000")],
    ids=["floating point", "32 bits"],
)
def test_grey_whose_white_is_not_known_is_refused(levels: np.ndarray, why: str, tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    Image.fromarray(levels).save(path)
    with open_picture(path) as image, pytest.raises(ValueError, match=why):
        with_bytes(image)
    streams = DeviceStreams(torch.device("cpu"))
    with (
        Painter(Backdrop("picture", path=path), streams, Fraction(1, 25), 20) as painter,
        pytest.raises(ConfigError, match=f"grey.tif cannot be read as a picture: .*{why}.*; save it with 8 or 16 bits"),
    ):
        painter.paint(torch.zeros(1, 3, 8, 8), [0])
