"""Files that no honest camera made: small clips cut short, with flipped bits, and with headers that lie."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

KILOBYTE = 1024
_FRAMES = 12
Case = tuple[str, str, bytes]
"""Kind, name, content."""


def clip(path: Path, form: str, codec: str, pixels: str, sound: str | None = "aac") -> bytes:
    """A small video of half a second, with sound where an encoder of it is given."""
    with av.open(str(path), "w", format=form, options={"movflags": "+faststart"} if form == "mp4" else {}) as container:
        video = container.add_stream(codec, rate=25, options={"g": "6"})
        video.width, video.height, video.pix_fmt = 96, 64, pixels
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        rows, columns = np.mgrid[:64, :96]
        for index in range(_FRAMES):
            image = np.stack([rows * 3, columns * 2, (rows + columns + 9 * index) % 256], axis=-1).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if tone is not None:
            size = tone.codec_context.frame_size or 1024
            for start in range(0, 48000 * _FRAMES // 25, size):
                wave = np.sin(np.arange(start, start + size) / 20).astype(np.float32)[None] * 0.3
                chunk = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = 48000, start, Fraction(1, 48000)
                container.mux(tone.encode(chunk))
            container.mux(tone.encode(None))
    return path.read_bytes()


def originals(folder: Path) -> dict[str, bytes]:
    """Whole files of each container and codec, which the others are made of."""
    wanted: dict[str, tuple[str, str, str, str | None]] = {
        "h264.mp4": ("mp4", "libx264", "yuv420p", "aac"),
        "hevc.mp4": ("mp4", "libx265", "yuv420p", None),
        "vp9.webm": ("webm", "libvpx-vp9", "yuv420p", "libopus"),
        "h264.mkv": ("matroska", "libx264", "yuv420p", "aac"),
        "mjpeg.avi": ("avi", "mjpeg", "yuvj420p", None),
        "h264.ts": ("mpegts", "libx264", "yuv420p", "aac"),
        "prores.mov": ("mov", "prores_ks", "yuv422p10le", None),
        "picture.gif": ("gif", "gif", "rgb8", None),
    }
    made = {}
    for name, (form, codec, pixels, sound) in wanted.items():
        made[name] = clip(folder / name, form, codec, pixels, sound=sound)
    return made


def truncated(whole: dict[str, bytes]) -> Iterator[Case]:
    """Each file cut at every kilobyte."""
    for name, data in whole.items():
        for end in range(KILOBYTE, len(data), KILOBYTE):
            yield "truncated", f"{end}-{name}", data[:end]


def flipped(whole: dict[str, bytes], count: int, seed: int) -> Iterator[Case]:
    """Files with one to sixteen flipped bits, half of the time near the beginning, where the headers are."""
    rng = np.random.default_rng(seed)
    names = sorted(whole)
    for number in range(count):
        name = names[number % len(names)]
        data = bytearray(whole[name])
        reach = len(data) if rng.random() < 0.5 else min(len(data), 2 * KILOBYTE)
        for position in rng.integers(0, reach, int(rng.integers(1, 17))):
            data[position] ^= 1 << int(rng.integers(0, 8))
        yield "bits flipped", f"{number}-{name}", bytes(data)


def special(whole: dict[str, bytes], folder: Path, canary: int) -> Iterator[Case]:
    """What is no video, or claims to be a very large one.

    Args:
        whole: the honest files.
        folder: for what must be made on disk first.
        canary: a port of this machine that nobody may connect to.
    """
    mp4, mkv = whole["h264.mp4"], whole["h264.mkv"]
    yield "empty", "zero length.mp4", b""
    yield "headers only", "headers.mp4", mp4[: mp4.index(b"mdat") + 4]
    yield "headers only", "headers.mkv", mkv[: mkv.index(b"\x1f\x43\xb6\x75")]
    with av.open(str(folder / "sound.m4a"), "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=48000, layout="mono")
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(tone.encode(chunk))
        container.mux(tone.encode(None))
    yield "audio only", "sound.mp4", (folder / "sound.m4a").read_bytes()
    yield "still image", "still.png", _png(96, 64, bytes((1 + 96 * 3) * 64))
    yield "huge picture", "100000x100000.png", _png(100_000, 100_000, bytes(1000))
    yield "huge picture", "30000x30000.png", _png(30_000, 30_000, bytes(1000))
    yield "huge picture", "100000x100000.avi", _patched_avi(whole["mjpeg.avi"], 100_000)
    yield "huge picture", "65535x65535.gif", b"GIF89a\xff\xff\xff\xff" + whole["picture.gif"][10:]
    for name in ("mvhd", "mdhd", "tkhd"):
        yield "ten hours", f"{name}.mp4", _longer(mp4, name.encode(), 36_000)
    yield (
        "ten hours",
        "every box.mp4",
        _longer(_longer(_longer(mp4, b"mvhd", 36_000), b"mdhd", 36_000), b"tkhd", 36_000),
    )
    yield "ten hours", "last frame.mp4", _late_frame(folder / "late.mp4")
    yield "ten thousand streams", "streams.mp4", _many_streams(folder / "streams.mp4", 10_000)
    yield from (("playlist", name, text.encode()) for name, text in _playlists(folder, canary))


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _patched_avi(data: bytes, side: int) -> bytes:
    place = data.index(b"strf") + 8
    return data[: place + 4] + struct.pack("<ii", side, side) + data[place + 12 :]


def _longer(data: bytes, box: bytes, seconds: int) -> bytes:
    """An MP4 whose header boxes of this kind claim a duration (ISO/IEC 14496-12, version 0 boxes)."""
    changed, start = bytearray(data), 0
    while (start := data.find(box, start)) >= 0:
        place = start + 4 + (20 if box == b"tkhd" else 16)
        scale = 1000 if box == b"tkhd" else struct.unpack_from(">I", data, start + 4 + 12)[0]
        struct.pack_into(">I", changed, place, min(seconds * scale, 0xFFFFFFF0))
        start += 4
    return bytes(changed)


def _late_frame(path: Path) -> bytes:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for pts in (0, 1, 2, 25 * 36_000):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path.read_bytes()


def _many_streams(path: Path, count: int) -> bytes:
    """An MP4 whose header lists a stream so many times over: the same track box, copied."""
    data = clip(path, "mp4", "mpeg4", "yuv420p", sound=None)
    start = data.index(b"moov") - 4
    length = struct.unpack_from(">I", data, start)[0]
    track = data.index(b"trak", start) - 4
    size = struct.unpack_from(">I", data, track)[0]
    copies = data[track : track + size] * count
    header = data[start:track] + copies + data[track + size : start + length]
    return data[:start] + struct.pack(">I", len(header)) + header[4:] + data[start + length :]


def _playlists(folder: Path, canary: int) -> Iterator[tuple[str, str]]:
    secret = folder / "secret.ts"
    clip(secret, "mpegts", "libx264", "yuv420p")
    url = f"http://127.0.0.1:{canary}/secret.ts"
    places = (
        str(secret),
        f"file:{secret}",
        f"file://{secret}",
        f"concat:{secret}|{secret}",
        url,
        "secret.ts",
        f"subfile:,,start,0,end,0,,:{secret}",
    )
    for number, place in enumerate(places):
        hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.48,\n{place}\n#EXT-X-ENDLIST\n"
        yield f"{number}.m3u8", hls
        yield f"hls {number}.mp4", hls
        yield f"{number}.ffconcat", f"ffconcat version 1.0\nfile '{place}'\n"
        yield f"concat {number}.mp4", f"ffconcat version 1.0\nfile '{place}'\n"
    yield (
        "session.sdp",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    )
    yield (
        "manifest.mpd",
        (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
            '<Period><AdaptationSet mimeType="video/mp4">'
            f'<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
            "</AdaptationSet></Period></MPD>"
        ),
    )
