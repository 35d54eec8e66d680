"""Small videos of many kinds, made on the fly, each frame marked with its number; and what is in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from birefnet_batch.video.encode import EncodeSpec, Kind, open_part
from birefnet_batch.video.join import JoinedFacts, join_parts
from birefnet_batch.video.reader import FrameReader

Image = NDArray[np.uint8]
_BITS = 8


@dataclass(frozen=True)
class Sound:
    """A track of silence with one beep, so that its place in time can be measured."""

    codec: str = "aac"
    rate: int = 48000
    layout: str = "mono"
    language: str | None = None
    start_s: float = 0.0
    seconds: float = 2.0
    beep_s: float = 0.5
    """When the beep begins, on the file's own clock."""


@dataclass(frozen=True)
class Clip:
    """What to make."""

    frames: int = 20
    size: tuple[int, int] = (96, 64)
    codec: str = "libx264"
    format: str = "mp4"
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    times: Sequence[int] | None = None
    """Presentation times in ticks of `time_base`; None: one frame a tick of the rate."""
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    rotation: float = 0
    hflip: bool = False
    aspect: Fraction | None = None
    sounds: tuple[Sound, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[tuple[int, int, str], ...] = ()
    """Start and end in milliseconds, and title."""


def numbered(number: int, size: tuple[int, int]) -> Image:
    """An RGB picture that carries a number below 256 as eight stripes, left is the highest bit; top is brighter."""
    width, height = size
    bits = np.array([number >> bit & 1 for bit in reversed(range(_BITS))], np.uint8)
    columns = bits[np.arange(width) * _BITS // width] * 150 + 30
    rows = np.where(np.arange(height) < height // 2, 40, 0)
    grey = (columns[None, :] + rows[:, None]).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def number_of(image: Image) -> int:
    """The number in a picture that `numbered` made, after coding."""
    width = image.shape[1]
    centres = [(2 * bit + 1) * width // (2 * _BITS) for bit in range(_BITS)]
    lower = image[image.shape[0] * 3 // 4 :, :, :].mean(axis=(0, 2))
    return sum(1 << (_BITS - 1 - place) for place, x in enumerate(centres) if lower[x] > 105)


def make(path: Path, clip: Clip) -> Path:
    """Write a clip."""
    base = clip.time_base or 1 / clip.rate
    with av.open(str(path), "w", format=clip.format, options=clip.muxer) as container:
        container.metadata.update(clip.tags)
        container.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for number, (start, end, title) in enumerate(clip.chapters, 1)
            ]
        )
        video: Any = None
        if clip.frames:
            video = container.add_stream(clip.codec, rate=clip.rate, options=clip.options)
            video.width, video.height, video.pix_fmt = *clip.size, clip.pix_fmt
            video.codec_context.time_base = base
            video.time_base = base
            if clip.aspect is not None:
                video.codec_context.sample_aspect_ratio = clip.aspect
            if clip.rotation or clip.hflip:
                video.set_display_rotation(clip.rotation, hflip=clip.hflip)
        outputs = [add_sound(container, sound) for sound in clip.sounds]
        for index in range(clip.frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, clip.size), format="rgb24")
            frame.pts, frame.time_base = (clip.times[index] if clip.times else index), base
            container.mux(video.encode(frame))
        if clip.frames:
            container.mux(video.encode(None))
        for sound, stream in zip(clip.sounds, outputs, strict=True):
            for chunk in beep(sound, stream):
                container.mux(stream.encode(chunk))
            container.mux(stream.encode(None))
    return path


def destroy(path: Path, packets: range, kept: int = 0) -> Path:
    """Overwrite the content of some packets, all but their first bytes."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in packets:
        start, size = places[number]
        content[start + kept : start + size] = bytes(size - kept)
    path.write_bytes(content)
    return path


def add_sound(container: Any, sound: Sound) -> Any:
    """Declare a track; its stream."""
    stream = container.add_stream(sound.codec, rate=sound.rate, layout=sound.layout, options={"strict": "experimental"})
    if sound.language:
        stream.metadata["language"] = sound.language
    return stream


def beep(sound: Sound, stream: Any) -> Iterator[av.AudioFrame]:
    """The track's sound, a frame of its encoder at a time."""
    count = int(sound.rate * sound.seconds)
    times = sound.start_s + np.arange(count) / sound.rate
    wave = np.where(times >= sound.beep_s, 0.5 * np.sin(times * 2 * np.pi * 1000), 0.0)
    planar = stream.format.is_planar
    channels = stream.layout.nb_channels
    size = stream.codec_context.frame_size or 1024
    kind = stream.format.packed.name if planar else stream.format.name
    scale = {"s16": 32767, "s32": 2147483647}.get(kind)
    floating = np.float64 if kind == "dbl" else np.float32
    samples = (wave * scale).astype(kind.replace("s", "int")) if scale else wave.astype(floating)
    for start in range(0, count, size):
        piece = np.repeat(samples[None, start : start + size], channels, axis=0)
        if not planar:
            piece = piece.T.reshape(1, -1)
        chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format=stream.format.name, layout=sound.layout)
        chunk.sample_rate = sound.rate
        chunk.pts, chunk.time_base = round(sound.start_s * sound.rate) + start, Fraction(1, sound.rate)
        yield chunk


@dataclass(frozen=True)
class Seen:
    """What a file holds, read by PyAV directly: numbers of the frames and their times in seconds."""

    numbers: list[int]
    times: list[Fraction]


def look(path: Path) -> Seen:
    """Decode a file's video without our own reader."""
    numbers, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            numbers.append(number_of(frame.to_ndarray(format="rgb24")))
            assert frame.pts is not None
            times.append(frame.pts * Fraction(frame.time_base))
    return Seen(numbers, times)


def beep_start(path: Path, track: int = 0) -> float:
    """When a track's beep begins, in seconds on the file's clock."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=track):
            wave = np.abs(frame.to_ndarray().astype(np.float64))
            if frame.format.name.startswith("s16"):
                wave /= 32768
            elif frame.format.name.startswith("s32"):
                wave /= 2147483648
            if not frame.format.is_planar:
                wave = wave.reshape(-1, frame.layout.nb_channels).T
            loud = np.flatnonzero(wave.max(axis=0) > 0.1)
            if loud.size:
                assert frame.pts is not None
                return float(frame.pts * Fraction(frame.time_base)) + int(loud[0]) / frame.sample_rate
    raise AssertionError(f"{path} has no beep")


@dataclass(frozen=True)
class Read:
    """What our reader gave: numbers, times and durations in ticks."""

    numbers: list[int]
    indexes: list[int]
    pts: list[int]
    durations: list[int]
    seconds: list[Fraction]


def read(path: Path, start: int = 0, stop: int | None = None) -> Read:
    """Read a file with our own reader."""
    numbers, indexes, pts, durations = [], [], [], []
    with FrameReader(path, start=start, stop=stop) as reader:
        for frame in reader:
            numbers.append(number_of(frame.image))
            indexes.append(frame.index)
            pts.append(frame.pts)
            durations.append(frame.duration)
            frame.release()
        base = reader.info.time_base
    return Read(numbers, indexes, pts, durations, [base * time for time in pts])


def convert(
    source: Path,
    destination: Path,
    *,
    cuts: Sequence[int] = (),
    kind: Kind = "video",
    quality: str = "high",
    write_mode: str = "fast",
    audio: bool = True,
    output_type: str = "X264 (.mp4)",
    wide: bool = False,
    dither: bool = False,
) -> JoinedFacts:
    """Read, encode and join a video as the pipeline does, in segments that begin at 0 and at each cut."""
    starts = [0, *cuts]
    parts = []
    spec: EncodeSpec | None = None
    origin = Fraction(0)
    end = 0
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        part = destination.with_name(f"{destination.stem}-{number}.part")
        with FrameReader(source, start=start, stop=stop, wide=wide) as reader:
            info = reader.info
            origin = info.origin
            spec = EncodeSpec(
                output_type=output_type,
                quality=quality,
                write_mode=write_mode,
                width=info.width,
                height=info.height,
                time_base=info.time_base,
                average_rate=info.average_rate,
                sample_aspect_ratio=info.sample_aspect_ratio,
                threads=2,
                primaries=info.primaries,
                transfer=info.transfer,
                dither=dither,
                tags=info.tags,
                chapters=info.chapters,
            )
            with open_part(part, spec, kind) as writer:
                for frame in reader:
                    image = frame.image if kind == "video" else frame.image[..., 0]
                    writer.write(np.ascontiguousarray(image), frame.pts, frame.duration)
                    end = frame.pts + frame.duration
                    frame.release()
        parts.append(part)
    assert spec is not None
    return join_parts(
        parts,
        destination,
        spec,
        end=end,
        audio_from=source if audio else None,
        timeout_s=30,
        subtitles_from=source,
        origin=origin,
    )
