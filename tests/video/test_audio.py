"""Sound: every track is carried over, in step with the picture; broken sound does not cost the picture."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from edits import edit
from video_clips import Clip, Sound, beep_start, convert, look, make, numbered

VIDEO_VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
SOURCES: dict[str, tuple[Clip, list[str]]] = {
    "aac-mp4": (Clip(sounds=(Sound(),)), ["aac"]),
    "aac-ts": (Clip(format="mpegts", sounds=(Sound(),)), ["aac"]),
    "mp3-mkv": (Clip(format="matroska", sounds=(Sound("libmp3lame"),)), ["mp3"]),
    "ac3-ts": (Clip(format="mpegts", sounds=(Sound("ac3"),)), ["ac3"]),
    "eac3-mkv": (Clip(format="matroska", sounds=(Sound("eac3", layout="stereo"),)), ["eac3"]),
    "alac-mov": (Clip(format="mov", sounds=(Sound("alac"),)), ["alac"]),
    "flac-mkv": (Clip(format="matroska", sounds=(Sound("flac", rate=44100),)), ["flac"]),
    "opus-webm": (Clip(format="webm", sounds=(Sound("libopus"),), **VIDEO_VP9), ["opus"]),
    "vorbis-mkv": (Clip(format="matroska", sounds=(Sound("vorbis", layout="stereo"),)), ["aac"]),
    "pcm-mov": (Clip(format="mov", sounds=(Sound("pcm_s16le", rate=44100),)), ["aac"]),
    "pcm-avi": (Clip(format="avi", codec="mpeg4", sounds=(Sound("pcm_s16le", rate=22050),)), ["aac"]),
    "pcm-high-rate": (Clip(format="mov", sounds=(Sound("pcm_s32le", rate=192000, layout="5.1"),)), ["aac"]),
    "quad": (Clip(format="mov", sounds=(Sound("pcm_s16le", layout="quad"),)), ["aac"]),
    "late-start": (
        Clip(
            format="matroska",
            time_base=Fraction(1, 1000),
            times=[10_000 + 40 * i for i in range(20)],
            sounds=(Sound("flac", start_s=9.7, beep_s=10.2), Sound("pcm_s16le", start_s=10.25, beep_s=10.5)),
        ),
        ["flac", "aac"],
    ),
    "three": (
        Clip(
            format="matroska",
            sounds=(Sound(language="eng"), Sound("vorbis", layout="stereo", language="fra"), Sound("flac")),
        ),
        ["aac", "aac", "flac"],
    ),
}


def codecs_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec.canonical_name for stream in container.streams.audio]


@pytest.mark.parametrize("name", SOURCES)
def test_carried_over_in_step(name: str, tmp_path: Path) -> None:
    clip, codecs = SOURCES[name]
    source = make(tmp_path / "clip", clip)
    facts = convert(source, tmp_path / "out.mp4", cuts=(9,))
    assert facts.notes == ()
    assert codecs_of(tmp_path / "out.mp4") == codecs
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.numbers == before.numbers == list(range(20))
    for track in range(len(codecs)):
        was = beep_start(source, track) - float(before.times[0])
        now = beep_start(tmp_path / "out.mp4", track) - float(after.times[0])
        # A millisecond is Matroska's own clock; a lossy codec smears the beginning of the beep a little.
        assert now == pytest.approx(was, abs=0.004)


def test_languages_stay(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mkv", SOURCES["three"][0])
    convert(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "fra", "und"]


def _length(path: Path) -> float:
    with av.open(str(path)) as container:
        ends = [
            frame.pts * Fraction(frame.time_base) + Fraction(frame.samples, frame.sample_rate)
            for frame in container.decode(audio=0)
            if frame.pts is not None
        ]
    return float(max(ends))


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_longer_than_the_picture_is_kept(codec: str, tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mov", Clip(format="mov", sounds=(Sound(codec, seconds=5),)))
    facts = convert(source, tmp_path / "out.mp4")
    assert facts.duration_s == pytest.approx(0.8)
    assert _length(tmp_path / "out.mp4") == pytest.approx(_length(source), abs=0.03)


def test_silent_when_asked_for_and_when_there_is_none(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(sounds=(Sound(),)))
    convert(source, tmp_path / "out.mp4", audio=False)
    assert codecs_of(tmp_path / "out.mp4") == []
    silent = make(tmp_path / "silent.mp4", Clip())
    facts = convert(silent, tmp_path / "out.mp4")
    assert facts.notes == ()
    assert codecs_of(tmp_path / "out.mp4") == []


def _pieces(source: Path, pieces: list[tuple[float, float]]) -> Path:
    """A video of 4 s with pieces of sound, each from one second to another, the last of them a tone."""
    with av.open(str(source), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for index in range(100):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(index, (96, 64)), format="rgb24")))
        container.mux(video.encode(None))
        for start_s, end_s in pieces:
            tone = (20000 * np.sin(np.arange(round((end_s - start_s) * 48000)) * 0.3)).astype(np.int16)[None]
            wave = tone if (start_s, end_s) == pieces[-1] else tone * 0
            packet_frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            packet_frame.sample_rate, packet_frame.time_base = 48000, Fraction(1, 48000)
            packet_frame.pts = round(start_s * 48000)
            for packet in sound.codec_context.encode(packet_frame):
                packet.stream = sound
                packet.pts = packet.dts = packet_frame.pts
                packet.time_base = Fraction(1, 48000)
                container.mux(packet)
    return source


@pytest.mark.parametrize(("output_type", "codec"), [("X264 (.mp4)", "aac"), ("PRORES4444 (.mov)", "pcm_s16le")])
@pytest.mark.parametrize(
    "pieces",
    [
        [(0.0, 0.1), (3.0, 3.1)],
        [(0.0, 1.0), (0.6, 1.6), (1.2, 2.2), (2.2, 2.5)],
        [(0.0, 1.0), (0.3, 0.5), (0.9, 1.1), (1.1, 1.2)],
        [(0.0, 1.0), (0.3, 0.4), (2.0, 2.1)],
    ],
    ids=["gap", "overlaps", "inside", "both"],
)
def test_sound_stays_in_step_where_parts_are_missing_or_overlap(
    pieces: list[tuple[float, float]], output_type: str, codec: str, tmp_path: Path
) -> None:
    source = _pieces(tmp_path / "clip.mkv", pieces)
    convert(source, tmp_path / "out", output_type=output_type)
    assert codecs_of(tmp_path / "out") == [codec]
    assert beep_start(tmp_path / "out") == pytest.approx(pieces[-1][0], abs=0.004)


@pytest.mark.parametrize("second_s", [0, 7200], ids=["back", "forward"])
def test_copied_sound_goes_on_where_the_clock_of_the_source_was_set(second_s: int, tmp_path: Path) -> None:
    _recorded(tmp_path / "clip.ts", *(Sound(start_s=start_s, beep_s=start_s + 1.0) for start_s in (0, second_s)))
    facts = convert(tmp_path / "clip.ts", tmp_path / "out.mp4")
    assert facts.notes == ()
    loud = []
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame in container.decode(audio=0):
            assert frame.pts is not None
            if np.abs(frame.to_ndarray()).max() > 0.1:
                loud.append(float(frame.pts * Fraction(frame.time_base)))
    begins = [after for before, after in pairwise([-1.0, *loud]) if after - before > 0.2]
    assert begins == pytest.approx([1.0, 3.0], abs=0.06)
    assert loud[-1] == pytest.approx(4.0, abs=0.06)


@pytest.mark.parametrize(
    ("codec", "output_type"),
    [
        ("aac", "X264 (.mp4)"),
        ("libopus", "X264 (.mp4)"),
        ("libopus", "VP9 (.webm)"),
        ("pcm_s16le", "PRORES4444 (.mov)"),
        ("pcm_s16le", "X264 (.mp4)"),
    ],
)
@pytest.mark.parametrize(("edits", "beep_s"), [([(0, 1.5), (3, 2)], 2.0), ([(2, 3)], 1.5)], ids=["two", "one"])
def test_sound_that_an_edit_list_cuts_out_is_not_heard_and_moves_nothing(
    codec: str, output_type: str, edits: list[tuple[float, float]], beep_s: float, tmp_path: Path
) -> None:
    clip = Clip(
        frames=25,
        rate=Fraction(5),
        format="mov" if codec.startswith("pcm") else "mp4",
        options={"g": "1", "bf": "0"},
        sounds=(Sound(codec, seconds=5, beep_s=3.5),),
    )
    source = edit(make(tmp_path / "clip", clip), edits)
    facts = convert(source, tmp_path / "out", output_type=output_type)
    assert facts.notes == ()
    assert look(tmp_path / "out").times[0] == 0
    # What is cut is cut by whole packets.
    assert beep_start(tmp_path / "out") == pytest.approx(beep_s, abs=0.03)


def test_sound_whose_channels_change_on_the_way_is_heard_to_its_end(tmp_path: Path) -> None:
    sounds = [Sound(layout=layout, start_s=start_s, beep_s=3.0) for start_s, layout in ((0, "stereo"), (2, "5.1"))]
    _recorded(tmp_path / "clip.ts", *sounds)
    convert(tmp_path / "clip.ts", tmp_path / "out.mp4")
    assert codecs_of(tmp_path / "out.mp4") == ["aac"]
    assert beep_start(tmp_path / "out.mp4") == pytest.approx(3.0, abs=0.06)


def _recorded(path: Path, *sounds: Sound) -> None:
    """Write a transport stream of two seconds for each sound, the clock set to where it starts."""
    content = b""
    for sound in sounds:
        clip = Clip(
            frames=50,
            format="mpegts",
            time_base=Fraction(1, 90000),
            times=[round(90000 * sound.start_s) + 3600 * number for number in range(50)],
            options={"bf": "0"},
            sounds=(sound,),
        )
        content += make(path.with_name("one.ts"), clip).read_bytes()
    path.write_bytes(content)


def _overwrite_sound(path: Path, keep: int) -> None:
    """Fill every sound packet after the first few with noise."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(0)
    for position, size in places[keep:]:
        assert position is not None
        data[position : position + size] = generator.bytes(size)
    path.write_bytes(data)


@pytest.mark.parametrize("codec", ["aac", "mp2"])
@pytest.mark.parametrize("keep", [0, 5])
def test_damaged_sound_does_not_cost_the_picture(codec: str, keep: int, tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mov", Clip(format="mov", sounds=(Sound(codec),)))
    _overwrite_sound(source, keep)
    convert(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").numbers == list(range(20))


def test_one_damaged_packet_does_not_cost_the_sound_after_it(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mov", Clip(format="mov", sounds=(Sound("alac"),)))
    with av.open(str(source)) as container:
        position = [packet.pos for packet in container.demux(audio=0)][2]
    assert position is not None
    data = bytearray(source.read_bytes())
    data[position] = 0x40  # a kind of element that libav's decoder does not implement, and says so
    source.write_bytes(data)
    facts = convert(source, tmp_path / "out", output_type="VP9 (.webm)")
    assert not [note for note in facts.notes if "ends early" in note]
    assert beep_start(tmp_path / "out") == pytest.approx(0.5, abs=0.004)


def test_a_packet_that_the_muxer_cannot_copy_costs_only_itself(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.ts", Clip(format="mpegts", sounds=(Sound(),)))
    beep_s = beep_start(source) - float(look(source).times[0])
    data = bytearray(source.read_bytes())
    headers = [at for at in range(len(data)) if data[at] == 0xFF and data[at + 1 : at + 4] == b"\xf1\x4c\x40"]
    # Several blocks with checksums, which libav cannot copy, and calls unsupported.
    data[headers[5] + 1] &= 0xFE
    data[headers[5] + 6] |= 1
    source.write_bytes(data)
    facts = convert(source, tmp_path / "out.mp4")
    assert not [note for note in facts.notes if "audio was left out" in note]
    assert look(tmp_path / "out.mp4").numbers == list(range(20))
    assert beep_start(tmp_path / "out.mp4") == pytest.approx(beep_s, abs=0.004)


def test_a_first_packet_that_the_muxer_refuses_at_the_end_costs_only_itself(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mkv", Clip(format="matroska", sounds=(Sound("ac3"),)))
    data = bytearray(source.read_bytes())
    data[data.index(b"\x0b\x77") + 5] ^= 0x10  # a bit stream of a version that there is not
    source.write_bytes(data)
    facts = convert(source, tmp_path / "out.mp4")
    assert not [note for note in facts.notes if "audio was left out" in note]
    assert look(tmp_path / "out.mp4").numbers == list(range(20))
    assert beep_start(tmp_path / "out.mp4") == pytest.approx(beep_start(source), abs=0.01)


def test_sound_of_an_unknown_codec_is_left_out_with_a_note(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mov", Clip(format="mov", sounds=(Sound("pcm_s16le"), Sound("aac"))))
    data = source.read_bytes()
    assert data.count(b"sowt") == 1
    source.write_bytes(data.replace(b"sowt", b"zzzz"))
    facts = convert(source, tmp_path / "out.mp4")
    assert codecs_of(tmp_path / "out.mp4") == ["aac"]
    assert [note for note in facts.notes if "audio track 1 was left out" in note]


def test_sound_that_ends_early(tmp_path: Path) -> None:
    clip = Clip(format="mov", sounds=(Sound("pcm_s16le", seconds=20),), muxer={"movflags": "+faststart"})
    source = make(tmp_path / "clip.mov", clip)
    source.write_bytes(source.read_bytes()[:-500_000])
    convert(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").numbers == list(range(20))
    assert beep_start(tmp_path / "out.mp4") == pytest.approx(0.5, abs=0.004)


def test_sound_that_kills_the_process_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "clip.mp4", Clip(sounds=(Sound(),)))
    # The process that joins dies as soon as it opens sound.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'birefnet_batch.video.join_process' in ' '.join(sys.orig_argv):\n"
        "    import av.audio.codeccontext, birefnet_batch.video.audio as audio\n"
        "    class Deadly(audio._Track):\n"
        "        def __init__(self, *args, **kwargs): os.abort()\n"
        "    audio._Track = Deadly\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = convert(source, tmp_path / "out.mp4")
    assert codecs_of(tmp_path / "out.mp4") == []
    assert any("audio was left out" in note and "SIGABRT" in note for note in facts.notes)
    assert look(tmp_path / "out.mp4").numbers == list(range(20))


def test_packets_of_sound_and_picture_alternate(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.mp4", Clip(frames=100, sounds=(Sound(seconds=4),)))
    convert(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        places: list[tuple[int, Any]] = sorted(
            (packet.pos or 0, packet.stream.type) for packet in container.demux() if packet.size
        )
    switches = sum(before[1] != after[1] for before, after in pairwise(places))
    assert switches > 6
