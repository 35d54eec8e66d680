"""Input that has an alpha channel of its own."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video_clips import Clip, make

from birefnet_batch.counted import Note
from birefnet_batch.video.reader import FrameReader

SIZE = (96, 64)
COLOUR = np.array((200, 120, 60))


def ramp() -> np.ndarray:
    """RGBA: one colour, clear on the left and opaque on the right."""
    image = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
    image[..., :3] = COLOUR
    image[..., 3] = np.linspace(0, 255, SIZE[0]).astype(np.uint8)
    return image


def clear_file(path: Path, codec: str, pix_fmt: str, options: dict[str, str], tags: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        stream.metadata.update(tags)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(ramp(), format="rgba")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


VP8 = ("libvpx", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "2M"}, {"alpha_mode": "1"})
VP9 = ("libvpx-vp9", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "0"}, {"alpha_mode": "1"})

SMPTE_170M, SRGB = 6, 13  # in ITU-T H.273


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options", "tags", "tolerance"),
    [
        ("a.webm", *VP9, 4),
        ("a.webm", *VP8, 6),
        ("a.mov", "prores_ks", "yuva444p10le", {}, {}, 3),
        ("a.mov", "png", "rgba", {}, {}, 0),
        ("a.mkv", "ffv1", "bgra", {}, {}, 0),
    ],
    ids=["VP9", "VP8", "ProRes 4444", "PNG in QuickTime", "FFV1"],
)
def test_alpha_is_read_and_the_colours_are_over_black(
    name: str,
    codec: str,
    pix_fmt: str,
    options: dict[str, str],
    tags: dict[str, str],
    tolerance: int,
    tmp_path: Path,
) -> None:
    with FrameReader(clear_file(tmp_path / name, codec, pix_fmt, options, tags)) as reader:
        assert reader.info.alpha
        seen = []
        for frame in reader:
            assert frame.alpha is not None
            seen.append((frame.image.astype(int), frame.alpha.astype(int)))
            frame.release()
    wanted = ramp().astype(int)[..., 3]
    assert len(seen) == 3
    for image, alpha in seen:
        assert np.abs(alpha - wanted).max() <= max(1, tolerance)
        assert np.abs(image - np.rint(wanted[..., None] * COLOUR / 255)).max() <= max(1, tolerance)
    assert any("transparency of its own" in note.text for note in reader.notes)


def test_an_opaque_gif_stays_opaque(tmp_path: Path) -> None:
    with FrameReader(make(tmp_path / "plain.gif", Clip(frames=3, codec="gif", format="gif", pix_fmt="rgb8"))) as reader:
        for frame in reader:
            assert frame.alpha is not None
            assert frame.alpha.min() == 255
            frame.release()
    assert reader.notes == []


@pytest.mark.parametrize("coding", [VP9, VP8], ids=["VP9", "VP8"])
def test_primaries_and_transfer_function_of_video_with_alpha_are_the_files(
    coding: tuple[str, str, dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.webm"
    codec, pix_fmt, options, tags = coding
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        stream.codec_context.color_primaries, stream.codec_context.color_trc = SMPTE_170M, SRGB
        stream.metadata.update(tags)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(ramp(), format="rgba")))
        container.mux(stream.encode(None))
    with FrameReader(path) as reader:
        assert reader.info.alpha
        assert (reader.info.primaries, reader.info.transfer) == (SMPTE_170M, SRGB)


def test_video_without_alpha_has_none(tmp_path: Path) -> None:
    with FrameReader(make(tmp_path / "clip.mp4", Clip(frames=2))) as reader:
        assert not reader.info.alpha
        assert next(iter(reader)).alpha is None


@pytest.mark.parametrize("coding", [VP9, VP8], ids=["VP9", "VP8"])
def test_alpha_that_begins_after_the_first_frame_is_used(
    coding: tuple[str, str, dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    codec, _, options, tags = coding
    path = tmp_path / "late.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuva420p"
        stream.metadata.update(tags)
        opaque = av.CodecContext.create(codec, "w")
        opaque.width, opaque.height, opaque.pix_fmt, opaque.time_base = *SIZE, "yuv420p", Fraction(1, 25)
        opaque.options = options
        packets: list[av.Packet] = []
        for first, encoder in ((0, opaque), (2, stream)):
            for index in (first, first + 1):
                frame = av.VideoFrame.from_ndarray(ramp(), format="rgba").reformat(format=encoder.pix_fmt)
                frame.pts, frame.time_base = index, Fraction(1, 25)
                packets += encoder.encode(frame)
            packets += encoder.encode(None)
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    with FrameReader(path) as reader:
        assert reader.info.alpha
        ends = []
        for frame in reader:
            assert frame.alpha is not None
            ends.append((int(frame.alpha[:, :8].mean()), int(frame.alpha[:, -8:].mean())))
            frame.release()
    assert ends[:2] == [(255, 255)] * 2
    assert all(left < 20 and right > 240 for left, right in ends[2:])


def test_alpha_that_begins_later_in_a_file_that_does_not_announce_it_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "mixed.mov"
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_mux_stream("png", 25, width=SIZE[0], height=SIZE[1])
        stream.time_base = Fraction(1, 25)
        for index, mode in enumerate(("RGB", "RGBA")):
            content = io.BytesIO()
            Image.fromarray(ramp()).convert(mode).save(content, "png")
            packet = av.Packet(content.getvalue())
            packet.pts = packet.dts = index
            packet.duration, packet.time_base, packet.is_keyframe = 1, Fraction(1, 25), True
            packet.stream = stream
            container.mux_one(packet)
    with FrameReader(path) as reader:
        for frame in reader:
            frame.release()
    assert reader.notes == [Note("frames with an alpha channel were made opaque: the first one has none", 1)]
