"""One of something is said as one."""

from __future__ import annotations

import pytest

from birefnet_batch.counted import Note, counted, summed_notes


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


def test_counts_of_segments_are_added_up_and_other_notes_are_kept_once() -> None:
    deinterlaced, clear = "frames were deinterlaced", Note("the source has transparency of its own")
    notes = [Note(deinterlaced, 13), clear, Note(deinterlaced, 13), Note(deinterlaced, 4), clear]
    assert summed_notes(notes) == [f"30 {deinterlaced}", clear.text]
    assert summed_notes([Note(deinterlaced, 0), Note(deinterlaced, 1)]) == ["1 frame was deinterlaced"]


def test_a_number_that_a_note_begins_with_is_no_count() -> None:
    assert summed_notes([Note("2 fields make a frame of this video")] * 3) == ["2 fields make a frame of this video"]
