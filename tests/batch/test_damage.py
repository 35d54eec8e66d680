"""How much of a video may be damaged, whatever its segments are."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest
from batch_runs import job_folder, request, run_all
from clips import make_clip, read_frames
from video_clips import destroy

from birefnet_batch.settings import MediaSettings


@pytest.mark.usefixtures("trivial_engine")
def test_damage_that_every_segment_may_have_is_too_much_for_the_whole(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=48, keyframes=4)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for start, size in places[7::8]:
        content[start : start + size] = bytes(size)
    path.write_bytes(content)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=8))
    assert outcome.status == "failed"
    assert "is damaged: 6 of 48 frames cannot be decoded, and 5%, or 3, are the most that" in str(outcome.error)


@pytest.mark.usefixtures("trivial_engine")
def test_a_damaged_group_of_one_segment_is_no_more_than_it_is_of_the_whole(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=104, keyframes=5)
    with av.open(str(path)) as container:
        start, size = next((packet.pos, packet.size) for packet in list(container.demux(video=0))[40:])
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=20))
    assert outcome.status == "succeeded"
    # More than three, and more than 5 % of the segment's.
    assert json.loads((job_folder(output) / "job.json").read_text())["source"]["corrupt_frames"] in (4, 5)


@pytest.mark.usefixtures("trivial_engine")
def test_a_last_segment_that_lost_every_frame_costs_no_more_than_its_frames(tmp_path: Path, output: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=6, size=(64, 48), keyframes=3)
    destroy(path, range(3, 6), kept=5)
    _, (outcome,) = run_all(output, request(path), media=MediaSettings(segment_frames=3))
    assert outcome.status == "succeeded", outcome.error
    record = json.loads((job_folder(output) / "job.json").read_text())
    assert (record["segments"], record["source"]["frames"], record["source"]["corrupt_frames"]) == (2, 3, 3)
    assert read_frames(job_folder(output) / "clip.mp4").times == [0, Fraction(1, 25), Fraction(2, 25)]
