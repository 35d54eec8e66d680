"""What stands behind the subject, as `media.background` says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from closed_folder import close

from birefnet_batch.backdrop import Backdrop, parse_background, parse_colour
from birefnet_batch.errors import ConfigError


def test_what_is_meant_is_told_by_the_word_or_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "beach.jpg").write_bytes(b"")
    (tmp_path / "waves.mp4").write_bytes(b"")
    assert parse_background("auto") is None
    assert parse_background("none") == Backdrop("none")
    assert parse_background("blur") == Backdrop("blur")
    assert parse_background("#ff0000") == Backdrop("colour", (255, 0, 0))
    assert parse_background(str(tmp_path / "beach.jpg")).kind == "picture"
    assert parse_background(str(tmp_path / "waves.mp4")).kind == "video"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.png', and there is no such file"):
        parse_background(str(tmp_path / "none.png"))


@pytest.mark.parametrize("url", ["s3://bucket/beach.jpg", "https://host/beach?X-Amz-Signature=SECRET"])
def test_a_url_is_said_to_be_one_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match=r"/beach\S* is a URL; download it and give its path") as caught:
        parse_background(url)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [("closed/a.png", "permission denied"), (f"{'x' * 300}.png", "too long")])
def test_a_file_that_may_not_be_looked_at_is_no_failure_of_ours(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(tmp_path / "closed", monkeypatch)
    with pytest.raises(ConfigError, match=rf"media.background is .*, and it cannot be read: .*{reason}"):
        parse_background(str(tmp_path / name))


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
