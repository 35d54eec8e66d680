"""Inputs that are no whole video: each is refused in one line that names the file and says what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import Clip, Sound, make, numbered, read

from birefnet_batch.errors import InputError
from birefnet_batch.executors.retries import may_be_tried_again
from birefnet_batch.video.probe import probe
from birefnet_batch.video.reader import FrameReader
from birefnet_batch.video.truncation import missing_bytes


def _missing(path: Path) -> None:
    """Nothing is made."""


def _audio_only(path: Path) -> None:
    make(path, Clip(frames=0, sounds=(Sound(),)))


def _cover_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1, (64, 64)), format="rgb24")))
        container.mux(cover.encode(None))


def _unknown_codec(path: Path) -> None:
    make(path, Clip(codec="mpeg4", format="avi"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"FMP4", b"ZZZZ"))


def _undecodable(path: Path) -> None:
    make(path, Clip(frames=30))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(np.random.default_rng(0).integers(0, 256, end - start, np.uint8))
    path.write_bytes(data)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (_missing, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder; give a video file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("Dear diary,\n" * 500), "no video that can be read"),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(1).bytes(100_000)), "no video that can be read"),
    "zeros": (lambda path: path.write_bytes(bytes(100_000)), "no video that can be read"),
    "audio only": (_audio_only, "only audio"),
    "cover picture": (_cover_only, "only audio"),
    "unknown codec": (_unknown_codec, "codec"),
    "undecodable": (_undecodable, "no frame that can be decoded|damaged"),
    "pipe": (os.mkfifo, "no regular file"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.mp4"
    build, reason = BAD[name]
    build(path)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert not may_be_tried_again(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = make(tmp_path / "clip.mp4", Clip())
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        probe(path)


TRUNCATED = {
    "faststart": Clip(frames=100, muxer={"movflags": "+faststart"}),
    "moov last": Clip(frames=100),
    "fragments": Clip(frames=100, muxer={"movflags": "frag_keyframe+empty_moov"}, options={"g": "30"}),
    "matroska": Clip(frames=100, format="matroska"),
    "webm": Clip(frames=100, codec="libvpx-vp9", format="webm", options={"deadline": "realtime", "cpu-used": "8"}),
    "avi": Clip(frames=100, codec="mpeg4", format="avi"),
    "mxf": Clip(frames=100, codec="mpeg2video", format="mxf"),
    "gif": Clip(frames=100, codec="gif", format="gif", pix_fmt="rgb8"),
}


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_truncated(name: str, share: float, tmp_path: Path) -> None:
    path = make(tmp_path / "clip.video", TRUNCATED[name])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    reason = "no video that can be read|ends early"
    if name == "faststart":
        reason = r"ends early: \d+ of 100 frames"
    with pytest.raises(InputError, match=reason):
        read(path)


def test_truncated_within_a_packet(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.flv", Clip(frames=100, format="flv"))
    with av.open(str(path)) as container:
        middle = [packet for packet in container.demux(video=0) if packet.size][50]
        assert middle.pos is not None
        cut = middle.pos + 11 + middle.size // 2  # after the header of the tag
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="ends early, after"):
        read(path)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray", "yuv420p10le", "gray10le"])
def test_frames_of_one_length_tell_what_is_missing_of_the_last(pix_fmt: str, tmp_path: Path) -> None:
    options = {"strict": "-1"}
    clip = Clip(frames=3, codec="wrapped_avframe", format="yuv4mpegpipe", pix_fmt=pix_fmt, size=(33, 17), muxer=options)
    path = make(tmp_path / "clip.y4m", clip)
    whole = path.read_bytes()
    for cut in (0, 1, 400):
        path.write_bytes(whole[: len(whole) - cut])
        with path.open("rb") as file:
            assert missing_bytes(file) == cut
    with pytest.raises(InputError, match="ends early: 400 of "):
        probe(path)


def test_an_flv_file_that_is_shorter_than_it_says_has_a_note(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.flv", Clip(frames=50, format="flv"))
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
    assert last.pos is not None
    for content, said in ((whole, False), (whole[: last.pos], True)):
        path.write_bytes(content)
        with FrameReader(path) as reader:
            for frame in reader:
                frame.release()
        assert any(f"has {len(whole)} bytes, and it has {len(content)}" in note.text for note in reader.notes) == said


def test_sound_that_is_cut_off_is_no_matter_to_the_frames(tmp_path: Path) -> None:
    clip = Clip(sounds=(Sound(codec="pcm_s16le", seconds=20),), format="mov", muxer={"movflags": "+faststart"})
    path = make(tmp_path / "clip.mov", clip)
    path.write_bytes(path.read_bytes()[:-100_000])
    assert read(path).numbers == list(range(20))


def test_a_sample_without_bytes_is_no_missing_frame(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mov", Clip(frames=20, format="mov", options={"bf": "0"}))
    data = bytearray(path.read_bytes())
    # Of the table of sizes, after version, common size and count, the last.
    at = data.index(b"stsz") + 16 + 19 * 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    assert read(path).numbers == list(range(19))
    assert probe(path).frames == 19


def test_truncation_is_no_matter_to_an_earlier_segment_of_what_is_there(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.ts", Clip(frames=100, format="mpegts"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert read(path, 0, 10).numbers == list(range(10))


def _damage(path: Path, broken: int) -> None:
    """Overwrite the compressed pictures of some of 100 frames, spread over the file, but never the first."""
    make(path, Clip(frames=100, codec="mjpeg", format="avi", pix_fmt="yuvj420p"))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in range(broken):
        position, size = places[1 + number * 98 // broken]
        assert position is not None
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


def test_a_few_corrupt_frames_are_tolerated_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    _damage(path, 2)
    with FrameReader(path) as reader:
        count = 0
        for frame in reader:
            count += 1
            frame.release()
    assert count == 98
    assert reader.corrupt_frames == 2
    assert [note.count for note in reader.notes if "corrupt frames" in note.text] == [2]


def _half_decodable(path: Path) -> Path:
    """Blank the second half of three pictures in a hundred; H.264 decoders mend such a picture as they can."""
    make(path, Clip(frames=100, options={"g": "10", "bf": "0"}))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in (20, 50, 80):
        position, size = places[number]
        assert position is not None
        data[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(data)
    return path


def test_frames_decoded_in_part_are_kept_dropped_or_refused_by_setting(tmp_path: Path) -> None:
    path = _half_decodable(tmp_path / "clip.mp4")
    counts = {}
    for policy in ("conceal", "drop"):
        with FrameReader(path, corrupt=policy) as reader:
            times = []
            for frame in reader:
                times.append((frame.pts, frame.duration))
                frame.release()
        counts[policy] = len(times)
        assert reader.corrupt_frames == 3
        assert all(pts + duration == after for (pts, duration), (after, _) in pairwise(times))
    assert counts == {"conceal": 100, "drop": 97}
    with (
        FrameReader(path, corrupt="fail") as reader,
        pytest.raises(InputError, match="has 3 frames that cannot be decoded, or only in part, and media.corrupt"),
    ):
        for frame in reader:
            frame.release()


def test_a_file_that_needs_more_memory_than_it_may_have_is_one_clear_error(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", Clip(frames=2, size=(4096, 4096)))
    assert probe(path).width == 4096
    with pytest.raises(InputError, match=rf"{path} takes more than {100 * 2**20} bytes of memory to decode \(media"):
        probe(path, memory_bytes=100 * 2**20)


def test_many_corrupt_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    _damage(path, 30)
    with pytest.raises(InputError, match="is damaged: 30 of 100 frames"):
        read(path)


def test_playlists_open_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "secret.ts", Clip(format="mpegts"))
    make(tmp_path / "secret.mp4", Clip())
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nsecret.ts\n#EXT-X-ENDLIST\n"
    lists = {
        "list.m3u8": hls,
        "list.mp4": hls,
        "list.ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path / 'secret.mp4'}\n",
        "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>secret.mp4</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
    }
    for name, text in lists.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(InputError, match="no video that can be read"):
            probe(path)


@pytest.mark.parametrize(
    "name",
    ["a b.mp4", "%d.mp4", "%03d.mp4", "-i.mp4", "concat:a|b.mp4", "a:b.mp4", "http:x.mp4", "new\nline.mp4", "ü.mp4"],
)
def test_names_mean_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "plain", Clip(frames=3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert read(Path(name)).numbers == [0, 1, 2]
    assert read(tmp_path / name).numbers == [0, 1, 2]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    make(tmp_path / "plain", Clip(frames=3)).rename(path)
    assert read(path).numbers == [0, 1, 2]
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read(path)
