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
