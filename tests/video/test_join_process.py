"""The joining process is heard of for as long as it goes on, however large the file is."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from video_clips import Clip, Sound, make

from birefnet_batch.errors import WorkerLostError
from birefnet_batch.video import child as child_module
from birefnet_batch.video import join_process
from birefnet_batch.video.child import Alive, Child, Pulse
from birefnet_batch.video.container import open_input
from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.followed_file import FollowedFile
from birefnet_batch.video.join import JoinedFacts, JoinTask, join_parts
from birefnet_batch.video.parts import Parts

FRAMES = 8


class Parent:
    """The parent's end of a connection."""

    def __init__(self, answers: tuple[object, ...] = ()) -> None:
        self.heard: list[Any] = []
        self.waited: list[float] = []
        self._answers = list(answers)

    def send(self, message: object) -> None:
        self.heard.append(message)

    def poll(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return bool(self._answers)

    def recv(self) -> object:
        return self._answers.pop(0)


def task_of(tmp_path: Path, output_type: str) -> JoinTask:
    spec = EncodeSpec(output_type, "maximum", "fast", 320, 240, Fraction(1, 25), Fraction(25), None, 1)
    part = tmp_path / "part"
    noise = np.random.default_rng(0)
    with open_part(part, spec, "mask") as writer:
        for number in range(FRAMES):
            writer.write(noise.integers(0, 256, (240, 320), np.uint8), number, 1)
    return JoinTask((part,), tmp_path / "out", spec, FRAMES, None, None, Fraction(0))


def test_a_part_that_lost_its_end_is_named_and_no_sound_is_left_out_for_it(tmp_path: Path) -> None:
    task = task_of(tmp_path, "X264 (.mp4)")
    (part,) = task.parts
    part.write_bytes(part.read_bytes()[:-1000])
    source = make(tmp_path / "source.mkv", Clip(frames=FRAMES, format="matroska", sounds=(Sound(),)))
    with pytest.raises(WorkerLostError, match=f"^{part} cannot be read as it was written: invalid data"):
        join_parts(task.parts, task.destination, task.spec, end=FRAMES, audio_from=source, timeout_s=30)


def test_every_packet_of_a_part_is_heard_of_before_the_first_is_written(tmp_path: Path) -> None:
    parent = Parent()
    Parts(task_of(tmp_path, "PRORES4444 (.mov)"), Pulse(cast(Any, parent), every_s=0))
    assert len(parent.heard) == FRAMES


@pytest.mark.parametrize("output_type", ["PRORES4444 (.mov)", "GIF (.gif)"])
def test_writing_a_whole_file_again_is_allowed_time_by_its_size(
    output_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_process, "_SLOWEST_DISK", 1)
    parent = Parent()
    task = task_of(tmp_path, output_type)
    size = task.parts[0].stat().st_size
    join_process.work(cast(Any, parent), 0, task)
    *_, allowed, facts = parent.heard
    assert isinstance(facts, JoinedFacts)
    assert allowed.allow_s == pytest.approx(size, rel=0.5)


def test_a_child_is_waited_for_as_long_as_it_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent(answers=(Alive(600.0), Alive(), "done"))
    monkeypatch.setattr(child_module, "child_process", lambda module, memory: SimpleNamespace(connection=parent))
    assert Child("a.module", Path("clip.mp4"), None, timeout_s=5.0).receive() == "done"
    assert parent.waited == [5.0, 605.0, 5.0]


def test_a_track_without_packets_is_heard_of_while_the_others_are_read_through(tmp_path: Path) -> None:
    clip = Clip(
        codec="rawvideo", format="matroska", size=(320, 240), sounds=(Sound(seconds=0.1), Sound(seconds=0.1)), frames=40
    )
    path = make(tmp_path / "clip.mkv", clip)
    heard: list[int] = []
    with open_input(bytes(path), lambda: heard.append(1)) as container:
        packets = container.demux(audio=0)
        while next(packets).size:
            heard.clear()
    # Four megabytes of pictures came after the last sound.
    assert len(heard) >= 5


def test_reading_the_same_bytes_again_is_no_progress() -> None:
    heard: list[int] = []
    bytes_ = io.BytesIO(bytes(100))
    bytes_.name = "clip.mkv"
    file = FollowedFile(bytes_, lambda: heard.append(1))
    file.read(60)
    for _ in range(5):
        file.seek(0)
        assert len(file.read(60)) == 60
    assert len(heard) == 1
    file.read(60)
    assert len(heard) == 2
