"""Numbered images on disk as one video: their bytes, as they are, in one file that decodes to them."""

from __future__ import annotations

import hashlib
import os
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG

import av

from birefnet_batch.errors import InputError
from birefnet_batch.pictures import open_picture
from birefnet_batch.refusals import named_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.facts import SourceFacts
from birefnet_batch.storage.scratch import unwritable
from birefnet_batch.storage.written_file import WrittenFile
from birefnet_batch.uris import SEQUENCE_NUMBER

_CODECS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".tif": "tiff", ".tiff": "tiff", ".tga": "targa"}


def sequence_facts(pattern: Path, settings: StorageSettings) -> SourceFacts:
    """Size and fingerprint of all images together, from their folder's entries.

    Args:
        pattern: a path whose name has one number's place, such as `shot/f_%04d.png`.
        settings: how many frames a second they are.

    Raises:
        InputError: there are none, one is missing between two others, or they are of a kind that is not read.
    """
    size, digest = 0, hashlib.sha256()
    frames = _frames(pattern)
    for path in frames:
        stat = _regular(path)
        size += stat.st_size
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    fps = settings.sequence_rate
    return SourceFacts(size, f"frames={len(frames)};size={size};names={digest.hexdigest()[:16]};fps={fps}")


def pack_sequence(pattern: Path, target: Path, settings: StorageSettings) -> str:
    """Write the images into one QuickTime file, not decoded and not encoded.

    Args:
        pattern: see `sequence_facts`.
        target: the file to make.
        settings: how many frames a second they are.

    Returns:
        The SHA-256 in hex of the images' bytes, one file after another.

    Raises:
        InputError: an image cannot be read.
        OutputError: the file cannot be written.
    """
    frames, digest = _frames(pattern), hashlib.sha256()
    width, height = _size(frames[0])
    rate = settings.sequence_rate
    try:
        options = {"video_track_timescale": str(rate.numerator)}
        with (
            WrittenFile(target) as file,
            av.open(file, "w", format="mov", options=options) as container,
        ):
            stream = container.add_mux_stream(_CODECS[pattern.suffix.lower()], rate, width=width, height=height)
            stream.time_base = 1 / rate
            for number, path in enumerate(frames):
                content = _content(path)
                digest.update(content)
                packet = av.Packet(content)
                packet.pts = packet.dts = number
                packet.duration, packet.time_base, packet.is_keyframe = 1, Fraction(1) / rate, True
                packet.stream = stream
                container.mux_one(packet)
    except (av.error.FFmpegError, OSError) as error:
        target.unlink(missing_ok=True)
        raise unwritable(error) from None
    return digest.hexdigest()


def numbered_images(folder: Path) -> str | None:
    """The pattern of the first numbered images in a folder, to name it in a message; None where there are none."""
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  names alone
        found = re.fullmatch(r"(.*?)(\d{2,})(\.\w+)", name)
        if found and found[3].lower() in _CODECS:
            return f"{found[1]}%0{len(found[2])}d{found[3]}"
    return None


def _frames(pattern: Path) -> list[Path]:
    if pattern.suffix.lower() not in _CODECS:
        raise InputError(
            f"{pattern} names an image sequence of a kind that is not read; give PNG, JPEG, TIFF or TGA images"
        )
    found = SEQUENCE_NUMBER.search(pattern.name)
    assert found is not None
    before, place, after = pattern.name[: found.start()], found.group(), pattern.name[found.end() :]
    numbers = []
    try:
        for name in os.listdir(pattern.parent):  # noqa: PTH208  names alone
            middle = name[len(before) : len(name) - len(after)]
            if name.startswith(before) and name.endswith(after) and middle.isdecimal() and middle.isascii():
                number = int(middle)
                # A shorter or longer number of the same value is another sequence's.
                if place % number == middle:
                    numbers.append(number)
    except OSError as error:
        raise InputError(f"{pattern.parent} cannot be read: {named_reason(error)}") from None
    if not numbers:
        raise InputError(f"{pattern} does not exist, as a file or as numbered images; check the path and the digits")
    numbers.sort()
    for number, following in pairwise(numbers):
        if following != number + 1:
            raise InputError(
                f"{pattern} has no frame {number + 1}: after {number} comes {following}; give what is missing, or "
                "number the images without gaps"
            )
    return [pattern.with_name(f"{before}{place % number}{after}") for number in numbers]


def _regular(path: Path) -> os.stat_result:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {named_reason(error)}") from None
    if not S_ISREG(stat.st_mode):
        raise InputError(f"{path} is no regular file; give images on disk")
    return stat


def _size(path: Path) -> tuple[int, int]:
    try:
        with open_picture(path) as image:
            return image.size
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no image that can be read: {error}") from None


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {named_reason(error)}") from None
    if not content:
        raise InputError(f"{path} is empty; give the image again")
    return content
