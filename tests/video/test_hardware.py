"""Hardware encoders: used only where asked for and where an encode works; a requirement that fails says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from test_encode import SPEC, planes, write

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.jobs import Job, job_key
from birefnet_batch.request import Request
from birefnet_batch.settings import MediaSettings, Settings
from birefnet_batch.video import hardware
from birefnet_batch.video.encode import open_part
from birefnet_batch.video.formats import FORMATS, VP9, X264
from birefnet_batch.video.hardware import encoder_of, fitting, why_not
from birefnet_batch.video.nvenc import NvencWriter

HERE = why_not("h264_nvenc")
NONE_HERE = pytest.mark.skipif(HERE is None, reason="this machine has a hardware encoder")


@NONE_HERE
def test_the_probe_says_what_is_missing() -> None:
    assert HERE is not None
    assert "cuda" in HERE.lower() or "nvenc" in HERE.lower() or "operation" in HERE.lower()


def test_the_probe_of_an_encoder_that_works_finds_nothing() -> None:
    assert why_not("libx264") is None


@NONE_HERE
def test_auto_takes_software_where_there_is_no_hardware() -> None:
    assert encoder_of(X264, MediaSettings(hardware="auto")) == "libx264"


@NONE_HERE
def test_a_requirement_that_fails_says_what_was_asked_for_what_there_is_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        encoder_of(X264, MediaSettings(hardware="require"))
    message = str(caught.value)
    for part in ("media.hardware is require", "h264_nvenc", str(HERE), "libx264 can be had", "auto or off"):
        assert part in message


@NONE_HERE
def test_auto_that_takes_software_says_why() -> None:
    encoder, notes = fitting(X264, MediaSettings(hardware="auto"), (640, 360))
    assert encoder == "libx264"
    assert notes == (f"libx264 was used: h264_nvenc was tried for X264 (.mp4) and does not work here: {HERE}",)
    assert fitting(VP9, MediaSettings(hardware="auto"), (640, 360)) == (
        "libvpx-vp9",
        ("libvpx-vp9 was used: no hardware encoder writes VP9 (.webm)",),
    )
    assert fitting(VP9, MediaSettings(), (640, 360)) == ("libvpx-vp9", ())


def test_types_without_a_hardware_encoder_refuse_a_requirement() -> None:
    with pytest.raises(ConfigError, match=r"no hardware encoder writes VP9 .*give video_output_type X264 \(.mp4\)"):
        encoder_of(VP9, MediaSettings(hardware="require"))
    assert encoder_of(VP9, MediaSettings(hardware="auto")) == "libvpx-vp9"


def test_hardware_is_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "why_not", lambda encoder: None)
    for form in FORMATS.values():
        assert encoder_of(form, MediaSettings()) == form.encoder
    assert encoder_of(X264, MediaSettings(hardware="auto")) == "h264_nvenc"


def test_what_is_used_is_part_of_the_key_and_the_wish_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job.from_request(Request(video_url="clip.mp4"))

    def key(wish: str) -> str:
        return job_key(job, "1-2", "weights", "fp32", MediaSettings(hardware=wish))

    monkeypatch.setattr(hardware, "why_not", lambda encoder: "no card")
    assert key("auto") == key("off")
    monkeypatch.setattr(hardware, "why_not", lambda encoder: None)
    assert key("auto") == key("require") != key("off")


def test_sizes_that_the_hardware_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "why_not", lambda encoder: None)
    assert fitting(X264, MediaSettings(hardware="auto"), (1920, 1080)) == ("h264_nvenc", ())
    encoder, notes = fitting(X264, MediaSettings(hardware="auto"), (96, 64))
    assert encoder == "libx264"
    assert "libx264 was used: h264_nvenc takes widths" in notes[0]
    with pytest.raises(ConfigError, match="the video has 8192x64"):
        fitting(X264, MediaSettings(hardware="require"), (8192, 64))


@pytest.mark.parametrize("word", ["off", "auto", "require", False])
def test_words(word: object) -> None:
    assert MediaSettings(hardware=word).hardware_wish == (word or "off")


def test_another_word_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="media.hardware is 'on'; give off, auto or require"):
        Settings(media=MediaSettings(hardware="on")).validate()


def test_the_hardware_writer_gives_the_encoder_options_that_it_has() -> None:
    context = av.CodecContext.create("h264_nvenc", "w")
    options = {option.name: option for option in context.supported_options.private}
    generic = {option.name for option in context.supported_options.generic}
    for mode in ("fast", "balanced", "small"):
        context = av.CodecContext.create("h264_nvenc", "w")
        writer = object.__new__(NvencWriter)
        writer.spec = replace(SPEC, write_mode=mode)
        writer.set_up(context)
        for name, value in context.options.items():
            assert name in options or name in generic, name
            choices = [choice.name for choice in options[name].choices] if name in options else []
            assert not choices or value in choices, (name, value)


@NONE_HERE
def test_a_worker_without_the_hardware_fails_clearly(tmp_path: Path) -> None:
    spec = replace(SPEC, encoder="h264_nvenc", width=320, height=192)
    with (
        pytest.raises(OutputError, match=r"0\.part cannot be written"),
        open_part(tmp_path / "0.part", spec, "video") as writer,
    ):
        writer.write(np.zeros((192, 320, 3), np.uint8), 0, 1)
    assert not (tmp_path / "0.part").exists()


@pytest.mark.gpu
@pytest.mark.skipif(HERE is not None, reason=f"no hardware encoder: {HERE}")
def test_what_the_hardware_writes_is_read_back(tmp_path: Path) -> None:
    image = np.full((192, 320, 3), 90, np.uint8)
    write(tmp_path / "out.mp4", [image] * 10, replace(SPEC, encoder="h264_nvenc", width=320, height=192))
    luma, _, frame = planes(tmp_path / "out.mp4")
    assert (frame.width, frame.height) == (320, 192)
    assert abs(float(luma.mean()) - (16 + 90 * 219 / 255)) < 2
