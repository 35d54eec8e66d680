"""Subtitles: text is carried over at its times, in the container's own form; pictures are left out with a note."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from shutil import which
from typing import Any, cast

import av
import pytest
from av.subtitles.subtitle import SubtitleSet
from test_join_process import Parent, task_of
from video_clips import Sound, add_sound, beep, convert, look, numbered

from birefnet_batch.video import join_process
from birefnet_batch.video.carried import RefusedError
from birefnet_batch.video.subtitles import _PLAIN

SAID = [(240, 400, "Guten {\\i1}Tag{\\i0}"), (700, 300, "Zwei\\NZeilen")]
OWN = {"X264 (.mp4)": "mov_text", "VP9 (.webm)": "webvtt", "PRORES4444 (.mov)": "mov_text"}
SUFFIX = {"X264 (.mp4)": ".mp4", "VP9 (.webm)": ".webm", "PRORES4444 (.mov)": ".mov"}


def make_said(
    path: Path,
    form: str,
    codecs: dict[str, str],
    start: int = 0,
    said: list[tuple[int, int, str]] = SAID,
    sound: Sound | None = None,
) -> Path:
    """A clip whose subtitle tracks, language -> codec, say what is given; everything `start` milliseconds late."""
    with av.open(str(path), "w", format=form) as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = add_sound(container, sound) if sound else None
        tracks: list[Any] = []
        for language, codec in codecs.items():
            track: Any = container.add_stream(codec)  # type: ignore[call-overload]
            track.codec_context.subtitle_header = _PLAIN
            track.codec_context.time_base = track.time_base = Fraction(1, 1000)
            track.metadata["language"] = language
            tracks.append(track)
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(numbered(index, (96, 64)), format="rgb24")
            frame.pts, frame.time_base = start + 40 * index, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for at, duration, text in said:
            for track in tracks:
                subtitle = SubtitleSet.create(f"0,0,Default,,0,0,0,,{text}".encode(), 0, duration)
                packet = track.codec_context.encode_subtitle(subtitle)
                packet.pts = packet.dts = start + at
                packet.duration, packet.time_base, packet.stream = duration, Fraction(1, 1000), track
                container.mux(packet)
        if sound:
            for chunk in (*beep(sound, audio), None):
                container.mux(audio.encode(chunk))
    return path


def said_in(path: Path, track: int = 0) -> list[tuple[int, int, str]]:
    """What a track says: start and duration in milliseconds, and the text."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.subtitles[track]):
            for rect in packet.decode() if packet.size else ():
                assert packet.pts is not None
                base = Fraction(packet.time_base) * 1000
                text = rect.ass.decode().split(",", 8)[-1]
                found.append((round(packet.pts * base), round((packet.duration or 0) * base), text))
    return found


@pytest.mark.parametrize("output_type", OWN)
@pytest.mark.parametrize(("form", "codec"), [("matroska", "subrip"), ("matroska", "ass"), ("mp4", "mov_text")])
def test_text_is_carried_over_at_its_times(form: str, codec: str, output_type: str, tmp_path: Path) -> None:
    source = make_said(tmp_path / "clip", form, {"ger": codec, "eng": codec})
    path = tmp_path / f"out{SUFFIX[output_type]}"
    facts = convert(source, path, cuts=(9,), output_type=output_type)
    assert facts.notes == ()
    with av.open(str(path)) as container:
        tracks = container.streams.subtitles
        assert [track.codec_context.codec.canonical_name for track in tracks] == [OWN[output_type]] * 2
        assert [track.language for track in tracks] == ["ger", "eng"]
    for track in range(2):
        found = said_in(path, track)
        assert [(at, duration) for at, duration, _ in found] == [(at, duration) for at, duration, _ in SAID]
        assert [text.replace("{\\i0}", "") for _, _, text in found] == [
            text.replace("{\\i0}", "") for _, _, text in SAID
        ]
    assert look(path).numbers == list(range(30))


def test_subtitles_move_with_the_picture(tmp_path: Path) -> None:
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, start=5000)
    convert(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").times[0] == 0
    assert [at for at, _, _ in said_in(tmp_path / "out.mp4")] == [at for at, _, _ in SAID]


def _pair(first: int, second: int) -> bytes:
    """A packet of CEA-608's first field: two characters of seven bits with odd parity."""
    return bytes([0xFC, *(value | (0x80 if value.bit_count() % 2 == 0 else 0) for value in (first, second))])


def _captions(path: Path, cleared: bool = True) -> Path:
    """A QuickTime file of 2.8 s with two captions, shown from 0.8 s to 1.6 s and from there to 2.4 s or to the end."""
    load, row, show, clear = ([_pair(0x14, code)] * 2 for code in (0x20, 0x70, 0x2F, 0x2C))
    sent = [_pair(0, 0)] * 70
    for frame, pairs in (
        (2, [*load, *row, _pair(ord("O"), ord("N")), _pair(ord("E"), ord("."))]),
        (20, show),
        (24, [*load, *row, _pair(ord("T"), ord("W")), _pair(ord("O"), ord("."))]),
        (40, show),
        (60, clear if cleared else []),
    ):
        sent[frame : frame + len(pairs)] = pairs
    # Only a file that has such a track tells libav what it is.
    template = path.with_suffix(".scc")
    template.write_text("Scenarist_SCC V1.0\n\n00:00:00:10\t9420 9420\n\n")
    with av.open(str(template)) as captions, av.open(str(path), "w", format="mov") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        track = container.add_stream_from_template(captions.streams[0])
        track.time_base = Fraction(1, 25)
        for index, content in enumerate(sent):
            frame = av.VideoFrame.from_ndarray(numbered(index, (96, 64)), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            packet = av.Packet(content)
            packet.pts = packet.dts = index
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 25), track
            container.mux(packet)
        container.mux(video.encode(None))
    return path


def test_captions_are_shown_when_they_are_in_the_source(tmp_path: Path) -> None:
    facts = convert(_captions(tmp_path / "clip.mov"), tmp_path / "out.mp4")
    assert facts.notes == ()
    assert said_in(tmp_path / "out.mp4") == [(800, 800, "ONE."), (1600, 800, "TWO.")]


def test_a_caption_that_is_not_cleared_is_shown_to_the_end(tmp_path: Path) -> None:
    facts = convert(_captions(tmp_path / "clip.mov", cleared=False), tmp_path / "out.mp4")
    assert facts.notes == ()
    assert said_in(tmp_path / "out.mp4") == [(800, 800, "ONE."), (1600, 1200, "TWO.")]


def test_those_that_begin_together_are_shown_together(tmp_path: Path) -> None:
    said = [(200, 300, "one"), (200, 400, "two"), (500, 50, "three")]
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, said=said)
    convert(source, tmp_path / "out.mp4")
    found = [(at, text) for at, _, text in said_in(tmp_path / "out.mp4")]
    assert found == [(200, "one\\Ntwo"), (500, "two\\Nthree"), (550, "two")]


@pytest.mark.parametrize("output_type", OWN)
def test_those_that_overlap_are_shown_as_long_as_in_the_source(output_type: str, tmp_path: Path) -> None:
    said = [(100, 900, "long"), (300, 200, "short"), (600, 200, "other"), (1100, 50, "later")]
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, said=said)
    path = tmp_path / f"out{SUFFIX[output_type]}"
    assert convert(source, path, output_type=output_type).notes == ()
    if OWN[output_type] == "mov_text":
        # One at a time, so that each says all that is shown.
        assert said_in(path) == [
            (100, 200, "long"),
            (300, 200, "long\\Nshort"),
            (500, 100, "long"),
            (600, 200, "long\\Nother"),
            (800, 200, "long"),
            (1100, 50, "later"),
        ]
    else:
        assert said_in(path) == said


def test_those_that_follow_one_another_inexactly_are_not_shown_together(tmp_path: Path) -> None:
    said = [(100, 350, "one"), (400, 300, "two"), (640, 200, "three")]
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, said=said)
    convert(source, tmp_path / "out.mp4")
    assert said_in(tmp_path / "out.mp4") == [(100, 300, "one"), (400, 240, "two"), (640, 200, "three")]


@pytest.mark.parametrize(("rate", "codec"), [(11025, "aac"), (44100, "mp3float")])
def test_sound_that_a_container_refuses_does_not_cost_the_subtitles(rate: int, codec: str, tmp_path: Path) -> None:
    sound = Sound("libmp3lame", rate=rate, seconds=1.2)
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, sound=sound)
    facts = convert(source, tmp_path / "out.mp4")
    assert facts.notes == ()
    assert [at for at, _, _ in said_in(tmp_path / "out.mp4")] == [at for at, _, _ in SAID]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [track.codec_context.name for track in container.streams.audio] == [codec]


def test_subtitles_that_a_container_refuses_do_not_cost_the_sound_its_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = join_process._start

    def refusing(output: Any, doubtful: str) -> None:
        if any(stream.type == "subtitle" for stream in output.streams):
            raise RefusedError(doubtful, ValueError("invalid argument"))
        start(output, doubtful)

    monkeypatch.setattr(join_process, "_start", refusing)
    sound = Sound("libmp3lame", rate=44100, seconds=1.2)
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"}, sound=sound)
    task = replace(task_of(tmp_path, "X264 (.mp4)"), audio_from=bytes(source), subtitles_from=bytes(source))
    parent = Parent()
    join_process.work(cast(Any, parent), 0, task)
    facts = parent.heard[-1]
    assert facts.notes == ("the subtitles were left out: invalid argument",)
    with av.open(str(task.destination)) as container:
        assert [track.codec_context.name for track in container.streams.audio] == ["mp3float"]


def test_pictures_are_left_out_with_a_note(tmp_path: Path) -> None:
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"})
    data = source.read_bytes()
    assert data.count(b"S_TEXT/UTF8") == 1
    source.write_bytes(data.replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    facts = convert(source, tmp_path / "out.mp4")
    assert facts.notes == (
        "subtitle track 1 was left out: hdmv_pgs_subtitle subtitles are pictures, and only text is carried over",
    )
    assert look(tmp_path / "out.mp4").numbers == list(range(30))


def test_a_gif_has_none(tmp_path: Path) -> None:
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"})
    facts = convert(source, tmp_path / "out.gif", output_type="GIF (.gif)")
    assert (facts.frames, facts.notes) == (30, ())


@pytest.mark.skipif(which("ffprobe") is None, reason="ffprobe, the second reader, is not installed")
@pytest.mark.parametrize("output_type", OWN)
def test_ffprobe_reads_them_without_a_complaint(output_type: str, tmp_path: Path) -> None:
    source = make_said(tmp_path / "clip.mkv", "matroska", {"ger": "subrip"})
    path = tmp_path / f"out{SUFFIX[output_type]}"
    convert(source, path, output_type=output_type)
    entries = "stream_tags=language:packet=pts_time,duration_time"
    run = subprocess.run(
        ["ffprobe", "-v", "warning", "-select_streams", "s", "-show_entries", entries, "-of", "flat", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert 'pts_time="0.240000"' in run.stdout
    assert 'language="ger"' in run.stdout
