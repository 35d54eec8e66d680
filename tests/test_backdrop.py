"""What stands behind the subject: colours, pictures, videos, the source out of focus."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip, read_frames
from PIL import Image

from birefnet_batch.backdrop import Backdrop, Painter, blurred, covering, parse_background, parse_colour
from birefnet_batch.errors import ConfigError

FRAMES = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def painted(backdrop: Backdrop, times: list[int], base: Fraction = Fraction(1, 25)) -> list[torch.Tensor]:
    with Painter(backdrop, base, 20) as painter:
        return [painter.paint(FRAMES, [at]) for at in times]


def test_a_colour_is_that_colour() -> None:
    (found,) = painted(Backdrop("colour", (255, 0, 51)), [0])
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.2]))


def test_a_picture_covers_the_frame_and_keeps_its_shape(tmp_path: Path) -> None:
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, 150:250] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    (found,) = painted(Backdrop("picture", path=tmp_path / "wide.png"), [0])
    assert found.shape == (1, 3, 48, 64)
    red = found[0, 0] > 0.5
    # A square of the picture is a square on the frame, in the middle.
    assert red.all(dim=0).sum() == pytest.approx(48, abs=1)
    assert red[:, 31:33].all()


def test_transparency_of_a_picture_is_black_and_its_orientation_is_followed(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 48), (255, 255, 255, 0))
    picture.save(tmp_path / "clear.png")
    (found,) = painted(Backdrop("picture", path=tmp_path / "clear.png"), [0])
    assert found.abs().max() == 0
    turned = Image.new("RGB", (48, 64), "black")
    turned.paste("white", (0, 0, 24, 64))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (found,) = painted(Backdrop("picture", path=tmp_path / "turned.jpg"), [0])
    assert found[0, :, :20].min() > 0.9
    assert found[0, :, 28:].max() < 0.1


def test_a_video_goes_on_with_time_and_begins_again_at_its_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "behind.mp4", frames=5, size=(64, 48))
    images = read_frames(clip).images
    # Every 20 ms of a source with 50 frames a second: each frame of the clip is shown twice.
    found = painted(Backdrop("video", path=clip), list(range(14)), Fraction(1, 50))
    for index, picture in enumerate(found):
        wanted = torch.from_numpy(images[index // 2 % 5].copy()).permute(2, 0, 1)[None].float() / 255
        assert (picture - wanted).abs().mean() < 0.01, index


def test_a_video_of_a_segment_is_where_the_whole_would_be(tmp_path: Path) -> None:
    backdrop = Backdrop("video", path=make_clip(tmp_path / "behind.mp4", frames=5, size=(64, 48)))
    assert torch.equal(painted(backdrop, [7])[0], painted(backdrop, list(range(8)))[7])


def test_a_blur_keeps_the_light_and_loses_the_detail() -> None:
    frames = torch.zeros(1, 3, 256, 256)
    frames[..., ::2] = 1
    soft = blurred(frames)
    torch.testing.assert_close(soft.mean(), torch.tensor(0.5), atol=0.01, rtol=0)
    assert soft.std() < 0.02
    step = torch.zeros(1, 3, 256, 256)
    step[..., 128:] = 1
    across = blurred(step)[0, 0, 128]
    assert (across.diff() >= -1e-6).all()
    assert across.diff().max() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (47, 63)])
def test_frames_of_any_size_can_be_blurred_and_covered(size: tuple[int, int]) -> None:
    assert blurred(torch.rand(1, 3, *size)).shape == (1, 3, *size)
    assert covering(torch.rand(1, 3, 30, 40), torch.Size(size)).shape == (1, 3, *size)


def test_what_is_meant_is_told_by_the_word_or_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "beach.jpg").write_bytes(b"")
    (tmp_path / "waves.mp4").write_bytes(b"")
    assert parse_background("auto") is None
    assert parse_background("none") == Backdrop("none")
    assert parse_background("blur") == Backdrop("blur")
    assert parse_background("#ff0000") == Backdrop("colour", (255, 0, 0))
    assert parse_background(str(tmp_path / "beach.jpg")).kind == "picture"
    assert parse_background(str(tmp_path / "waves.mp4")).kind == "video"


def test_a_file_that_is_not_there_and_one_that_is_no_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.png', and there is no such file"):
        parse_background(str(tmp_path / "none.png"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ConfigError, match=r"text.png cannot be read as a picture"):
        painted(Backdrop("picture", path=tmp_path / "text.png"), [0])


@pytest.mark.parametrize(
    ("text", "colour"),
    [("black", (0, 0, 0)), ("#0f0", (0, 255, 0)), ("#102030", (16, 32, 48)), ("1, 2,255", (1, 2, 255))],
)
def test_colours_by_name_hex_and_numbers(text: str, colour: tuple[int, int, int]) -> None:
    assert parse_colour(text) == colour


@pytest.mark.parametrize("text", ["256,0,0", "1,2", "#12", "", "#11223344"])
def test_other_colours_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="a colour name"):
        parse_colour(text)
