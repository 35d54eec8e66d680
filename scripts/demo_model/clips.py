"""Makes the demo's clips with their true alpha, from subjects and backgrounds that were never trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from demo_model.paths import CACHE, CLIPS

SHUTTER = (-0.2, 0.0, 0.2)  # parts of a frame: motion blur like a camera's
SAMPLE_RATE = 48000


@dataclass(frozen=True)
class Pose:
    """Where a subject is: its centre and height as parts of the frame's height, and its turn in degrees."""

    x: float
    y: float
    height: float
    turn: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True)
class Clip:
    """What a clip shows.

    Attributes:
        background: a held-out background's name.
        camera: time in [0, 1] to the view's (left, upper, width), parts of the background's width.
        subjects: emoji families, each with its path.
    """

    name: str
    size: tuple[int, int]
    rate: int
    frames: int
    background: str
    camera: Callable[[float], tuple[float, float, float]]
    subjects: tuple[tuple[str, Callable[[float], Pose]], ...]
    melody: bool = False


def _wave(t: float, cycles: float, phase: float = 0.0) -> float:
    return float(np.sin(2 * np.pi * (cycles * t + phase)))


CLIPS_MADE = (
    Clip(
        "hamster",
        (640, 360),
        30,
        75,
        "lobby",
        lambda t: (0.06 * t, 0.36 + 0.02 * t, 0.8),
        (("1f439", lambda t: Pose(0.75 + 0.35 * t, 0.52 + 0.06 * _wave(t, 2), 0.62, 9 * _wave(t, 1.5))),),
    ),
    Clip(
        "motorcycle",
        (640, 360),
        25,
        75,
        "konarkSunTemple",
        lambda t: (0.25 + 0.05 * t, 0.04, 0.7),
        (("1f3cd", lambda t: Pose(-0.75 + 3.3 * t, 0.66 + 0.012 * _wave(t, 9), 0.5, 3 * _wave(t, 4), True)),),
    ),
    Clip(
        "animals",
        (768, 432),
        30,
        60,
        "forest",
        lambda t: (0.05 + 0.03 * t, 0.01 * t, 0.6 - 0.08 * t),
        (
            ("1f996", lambda t: Pose(0.42 + 0.10 * t, 0.58 - 0.05 * abs(_wave(t, 2)), 0.55, 4 * _wave(t, 2), True)),
            ("1f9a4", lambda t: Pose(1.42 - 0.10 * t, 0.70 - 0.04 * abs(_wave(t, 3)), 0.42, 3 * _wave(t, 3))),
            ("1fa82", lambda t: Pose(0.95 + 0.06 * _wave(t, 1), 0.05 + 0.2 * t, 0.34, 8 * _wave(t, 1, 0.2))),
        ),
        melody=True,
    ),
    Clip(
        "pumpkin",
        (360, 640),
        25,
        60,
        "life",
        lambda t: (0.36 - 0.06 * t, 0.10 - 0.07 * t, 0.30 + 0.05 * t),
        (("1f383", lambda t: Pose(0.28 + 0.03 * _wave(t, 1), 0.66 - 0.1 * t, 0.42 + 0.04 * t, 6 * _wave(t, 1.5))),),
    ),
)


def _subject(family: str) -> Image.Image:
    names = json.loads((CACHE / "subjects.json").read_text())
    pictures = np.load(CACHE / "subjects.npy", mmap_mode="r")
    pixels = np.array(pictures[names.index(family)])
    # Traces of alpha that nobody sees make the true alpha's file three times larger.
    pixels[..., 3] = np.clip((pixels[..., 3].astype(np.float32) - 6) * 255 / 243, 0, 255).round()
    picture = Image.fromarray(pixels)
    return picture.crop(picture.getchannel("A").point(lambda value: 255 * (value > 8)).getbbox())


def _placed(subject: Image.Image, pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Return the subject in the frame, (height, width, 4) float32, premultiplied, alpha in [0, 1]."""
    scale = pose.height * size[1] / subject.height
    picture = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if pose.mirrored else subject
    picture = picture.resize((round(subject.width * scale), round(subject.height * scale)), Image.Resampling.LANCZOS)
    padded = Image.new("RGBA", (picture.width + 4, picture.height + 4))
    padded.paste(picture, (2, 2))
    angle = np.radians(pose.turn)
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    x, y = pose.x * size[1], pose.y * size[1]
    middle_x, middle_y = padded.width / 2, padded.height / 2
    inverse = (
        cosine, sine, middle_x - cosine * x - sine * y,
        -sine, cosine, middle_y + sine * x - cosine * y,
    )  # fmt: skip
    layer = padded.convert("RGBa").transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)
    placed = np.asarray(layer).astype(np.float32)
    placed[..., 3] /= 255
    return placed


def _frames(clip: Clip) -> tuple[list[np.ndarray], list[np.ndarray]]:
    background = Image.fromarray(np.load(CACHE / "backgrounds.npz")[clip.background])
    subjects = [(_subject(family), path) for family, path in clip.subjects]
    width, height = clip.size
    pictures, alphas = [], []
    for index in range(clip.frames):
        t = index / (clip.frames - 1)
        left, upper, extent = (part * background.width for part in clip.camera(t))
        box = (left, upper, left + extent, upper + extent * height / width)
        view = background.resize(clip.size, Image.Resampling.LANCZOS, box=box, reducing_gap=3)
        picture, seen = np.asarray(view).astype(np.float32), np.zeros((height, width), np.float32)
        for subject, path in subjects:
            moments = [(index + part) / (clip.frames - 1) for part in SHUTTER]
            layer = np.mean([_placed(subject, path(moment), clip.size) for moment in moments], axis=0)
            alpha = layer[..., 3]
            picture = picture * (1 - alpha[..., None]) + layer[..., :3]
            seen = seen + alpha * (1 - seen)
        pictures.append(picture.clip(0, 255).round().astype(np.uint8))
        alphas.append((seen.clip(0, 1) * 255).round().astype(np.uint8))
    return pictures, alphas


def _melody(seconds: float) -> np.ndarray:
    """Return a short arpeggio with soft attacks, (1, samples) float32."""
    count = round(seconds * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    notes = np.array((262, 330, 392, 523, 392, 330, 294, 349))
    beat = time * 4
    pitch = notes[np.floor(beat).astype(int) % len(notes)]
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    envelope = np.minimum(beat % 1 * 20, 1) * np.exp(-3 * (beat % 1))
    return (0.3 * envelope * (np.sin(phase) + 0.3 * np.sin(2 * phase)))[None].astype(np.float32)


def _write_clip(path: Path, clip: Clip, pictures: list[np.ndarray]) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=clip.rate, options={"crf": "22", "preset": "slow", "threads": "1"})
        video.width, video.height = clip.size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = ColorRange.MPEG
        context.time_base = Fraction(1, clip.rate)
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if clip.melody else None
        for index, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, "rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = index, Fraction(1, clip.rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            samples = AudioFrame.from_ndarray(_melody(len(pictures) / clip.rate), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))


def _write_alpha(path: Path, clip: Clip, alphas: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=clip.rate, options={"level": "3", "g": "300", "context": "1"})
        video.width, video.height = clip.size
        video.pix_fmt = "gray"
        for index, alpha in enumerate(alphas):
            frame = VideoFrame.from_ndarray(alpha, "gray")
            frame.pts, frame.time_base = index, Fraction(1, clip.rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def main() -> None:
    CLIPS.mkdir(parents=True, exist_ok=True)
    for clip in CLIPS_MADE:
        pictures, alphas = _frames(clip)
        film, truth = CLIPS / f"{clip.name}.mp4", CLIPS / f"{clip.name}.alpha.mkv"
        _write_clip(film, clip, pictures)
        _write_alpha(truth, clip, alphas)
        sizes = f"{film.stat().st_size // 1000} kB, alpha {truth.stat().st_size // 1000} kB"
        print(f"{film}: {clip.frames} frames of {clip.size[0]}x{clip.size[1]} at {clip.rate}/s, {sizes}", flush=True)


if __name__ == "__main__":
    main()
