"""The arguments of one call, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet_batch.errors import ConfigError
from birefnet_batch.request_file import load_request_file


@pytest.mark.parametrize("value", ["!!bool maybe", '!!int ""', "!!timestamp x"])
def test_a_value_that_does_not_fit_its_tag_is_said_to_be_unreadable(value: str, tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    path.write_text(f"video_url: a.mp4\noutput_mask: {value}\n")
    with pytest.raises(ConfigError, match="cannot be read: a value does not fit its tag"):
        load_request_file(str(path), {}, {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("call.yaml", "video_url: a.mp4\nvideo_url: b.mp4\n"),
        ("call.json", '{"video_url": "a.mp4", "video_url": "b.mp4"}'),
    ],
)
def test_a_field_given_twice_is_an_error_and_neither_value_is_dropped_in_silence(
    name: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read: it has video_url twice; give each name once"):
        load_request_file(str(path), {}, {})


@pytest.mark.parametrize("url", ["s3://bucket/call.json", "https://host/call.json?X-Amz-Signature=SECRET"])
def test_a_url_is_said_to_be_one_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match=r"call\.json\S* is a URL; download it and give its path") as caught:
        load_request_file(url, {}, {})
    assert "SECRET" not in str(caught.value)
