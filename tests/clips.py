"""Small videos, made on the fly, and what is in a video file, read by PyAV directly."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Content:
    """Frames uint8 (N, H, W, 3) RGB, their times in seconds, how many audio tracks there are."""

    images: NDArray[np.uint8]
    times: list[Fraction]
    audio_tracks: int


def make_clip(
    path: Path,
    *,
    frames: int,
    size: tuple[int, int] = (128, 96),
    rate: int = 25,
    audio: bool = False,
    keyframes: int = 250,
) -> Path:
    """A bright disc that moves over a dark gradient, H.264 in MP4, a keyframe every so many frames.

    frames=0 gives sound alone.
    """
    width, height = size
    rows, cols = np.mgrid[:height, :width]
    with av.open(str(path), "w", format="mp4") as container:
        if frames:
            video = container.add_stream(
                "libx264", rate=rate, options={"preset": "ultrafast", "crf": "12", "g": str(keyframes)}
            )
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        if audio:
            sound = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(frames):
            image = np.stack([rows // 3, cols // 3, rows * 0 + 40], axis=-1).astype(np.uint8)
            disc = (rows - height / 2) ** 2 + (cols - width / 3 - 2 * index) ** 2 < (height / 4) ** 2
            image[disc] = (240, 180, 60)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if frames:
            container.mux(video.encode(None))
        if audio:
            seconds = max(frames, rate) / rate
            wave = np.sin(np.arange(int(48000 * seconds)) * 2 * np.pi * 440 / 48000).astype(np.float32) * 0.3
            for start in range(0, len(wave), 1024):
                chunk = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 48000, start, Fraction(1, 48000)
                container.mux(sound.encode(chunk))
            container.mux(sound.encode(None))
    return path


def make_noise(path: Path, frames: int) -> None:
    """Frames that no encoder makes small, H.264 in MP4."""
    rng = np.random.default_rng(frames)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        for _ in range(frames):
            image = rng.integers(0, 256, (128, 160, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))


def read_frames(path: Path) -> Content:
    """Decode a file with PyAV, without our own reader."""
    images, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            images.append(frame.to_ndarray(format="rgb24"))
            assert frame.pts is not None
            times.append(frame.pts * Fraction(frame.time_base))
        return Content(np.stack(images), times, len(container.streams.audio))
