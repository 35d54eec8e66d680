"""One of something is said as one."""

from __future__ import annotations

import pytest

from birefnet_batch.counted import counted


@pytest.mark.parametrize(
    ("text", "one"),
    [
        (
            "corrupt frames could not be decoded, or only in part",
            "1 corrupt frame could not be decoded, or only in part",
        ),
        ("frames were deinterlaced", "1 frame was deinterlaced"),
        ("frames of another size were scaled to 96x64", "1 frame of another size was scaled to 96x64"),
        (
            "jumps of the file's clock were closed: the frames follow one another without a gap",
            "1 jump of the file's clock was closed: the frames follow one another without a gap",
        ),
        ("damaged or misplaced packets were left out", "1 damaged or misplaced packet was left out"),
    ],
)
def test_one_is_singular_and_others_are_not(text: str, one: str) -> None:
    assert counted(1, text) == one
    assert counted(2, text) == f"2 {text}"
    assert counted(0, text) == f"0 {text}"
