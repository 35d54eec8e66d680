"""A segment streamed: every frame once, errors from any stage, memory that does not grow with length."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import make_clip, read_frames
from trivial import TrivialEngine
from video_clips import destroy

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.errors import BirefnetBatchError, DecoderCrashError, EngineError, OutputError
from birefnet_batch.executors.retries import is_unwell, may_be_tried_again
from birefnet_batch.pipeline import join, process_segment
from birefnet_batch.segment_task import SegmentTask
from birefnet_batch.segments import Segment
from birefnet_batch.video.encode import EncodeSpec, PartWriter
from birefnet_batch.video.formats import FORMATS
from birefnet_batch.video.keyframes import find_keyframes
from birefnet_batch.video.probe import probe


def task_for(clip: Path, folder: Path, segment: Segment = Segment(0)) -> SegmentTask:  # noqa: B008
    info = probe(clip)
    encode = EncodeSpec(
        output_type="X264 (.mp4)",
        quality="maximum",
        write_mode="fast",
        width=info.width,
        height=info.height,
        time_base=info.time_base,
        average_rate=info.average_rate,
        sample_aspect_ratio=None,
        threads=2,
    )
    return SegmentTask(
        source=clip,
        info=info,
        segment=segment,
        size=(64, 64),
        refine_foreground=True,
        backdrop=Backdrop("colour"),
        premultiplied=False,
        encode=encode,
        folder=folder,
        kinds=("video", "mask"),
        decode_timeout_s=20,
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_frame_comes_out_once_whatever_the_batch(tmp_path: Path, batch_size: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=8)
    task = task_for(clip, tmp_path)
    counted: list[int] = []
    with TrivialEngine(batch_size=batch_size) as engine:
        record = process_segment(task, engine, counted.append)
    assert record.frames == sum(counted) == 8
    assert set(engine.batches) == {batch_size}, "a partial batch is padded, so that every frame is computed alike"
    facts = join([task], "video", tmp_path / "out.mp4", end=record.end, audio=False, timeout_s=20)
    assert facts.frames == 8
    made, source = read_frames(tmp_path / "out.mp4"), read_frames(clip)
    assert made.times == source.times
    mask = read_frames(tmp_path / "mask-00000.part").images[..., 0]
    # The disc is the only thing in the clip that is brighter than mid-grey.
    disc = source.images[..., 0] > 200
    assert mask[disc].mean() > 240
    assert np.median(mask[source.images[..., 0] < 40]) < 10
    assert np.abs(made.images[disc].astype(int) - source.images[disc]).mean() < 12
    assert made.images[source.images[..., 0] < 40].mean() < 12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_s_streams_give_each_frame_what_a_processor_gives(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=90)
    made = {}
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        task = task_for(clip, folder)
        with TrivialEngine(batch_size=4, device=device) as engine:
            assert process_segment(task, engine).frames == 90
        made[device] = [read_frames(task.part(kind)).images.astype(int) for kind in task.kinds]
    for wanted, given in zip(made["cpu"], made["cuda"], strict=True):
        assert np.abs(given - wanted).max() < 32
        assert np.abs(given - wanted).mean(axis=(1, 2, 3)).max() < 1


@pytest.mark.parametrize("lost", [range(3), range(3, 6), range(6, 9)], ids=["first", "middle", "last"])
def test_a_segment_that_lost_every_frame_has_an_empty_part_and_the_rest_is_joined(lost: range, tmp_path: Path) -> None:
    clip = destroy(make_clip(tmp_path / "clip.mp4", frames=9, size=(64, 48), keyframes=3), lost, kept=5)
    edges = [None, *(keyframe for keyframe in find_keyframes(clip).keyframes if keyframe.frame), None]
    tasks = [task_for(clip, tmp_path, Segment(index, edges[index], edges[index + 1])) for index in range(3)]
    with TrivialEngine() as engine:
        records = [process_segment(task, engine) for task in tasks]
    at = lost.start // 3
    assert [record.frames for record in records] == [0 if index == at else 3 for index in range(3)]
    assert [record.corrupt_frames for record in records] == [3 if index == at else 0 for index in range(3)]
    start, stop = (("the beginning", "0.120 s"), ("0.120 s", "0.240 s"), ("0.240 s", "the end"))[at]
    said = records[at].notes[-1].text
    assert said.startswith(f"no frame from {start} to {stop} of the file's clock could be decoded")
    end = max(record.end for record in records)
    for kind in tasks[0].kinds:
        facts = join(tasks, kind, tmp_path / f"{kind}.mp4", end=end, audio=False, timeout_s=20)
        assert facts.frames == 6
        # What begins with the second segment begins at 0.
        kept = [Fraction(number - (3 if at == 0 else 0), 25) for number in range(9) if number not in lost]
        assert read_frames(tmp_path / f"{kind}.mp4").times == kept


def test_an_engine_that_fails_stops_every_stage_and_leaves_no_part(tmp_path: Path) -> None:
    class Failing(TrivialEngine):
        def run(self, images: object) -> None:  # type: ignore[override]
            if len(self.batches) == 3:
                raise BirefnetBatchError("the engine broke")
            return super().run(images)  # type: ignore[arg-type, return-value]

    clip = make_clip(tmp_path / "clip.mp4", frames=60)
    with Failing() as engine, pytest.raises(BirefnetBatchError, match="the engine broke"):
        process_segment(task_for(clip, tmp_path), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_thread_that_cannot_be_set_up_fails_with_its_own_reason_and_no_trace_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("birefnet_batch.finishing.compute_alone", refused)
    task = task_for(make_clip(tmp_path / "clip.mp4", frames=4), tmp_path)
    with TrivialEngine() as engine, pytest.raises(RuntimeError, match="can't start new thread") as caught:
        process_segment(task, engine)
    assert is_unwell(caught.value)
    assert not caplog.records


@pytest.mark.parametrize("kinds", [("video", "mask"), ("mask",)], ids="-".join)
def test_output_that_is_no_number_fails_the_video_instead_of_making_it_black(tmp_path: Path, kinds: tuple[Any, ...]):
    class Overflowing(TrivialEngine):
        def run(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().run(images)
            if len(self.batches) == 3:
                logits[1, 0, 5, 5] = torch.nan
            return logits

    clip = make_clip(tmp_path / "clip.mp4", frames=12)
    task = replace(task_for(clip, tmp_path), kinds=kinds)
    told = r"holds NaN, .* for 1 of the 2 frames from 0\.\d+ s on: numbers overflowed; give engine\.precision=fp32"
    with Overflowing(batch_size=2) as engine, pytest.raises(EngineError, match=told) as caught:
        process_segment(task, engine)
    assert not may_be_tried_again(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_encoder_that_fails_stops_every_stage_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from birefnet_batch.video.x264 import X264Writer

    write, calls = X264Writer.write, []

    def failing(self: PartWriter, image: object, pts: int, duration: int) -> None:
        calls.append(pts)
        if len(calls) > 10:
            raise OutputError("the disk is full")
        write(self, image, pts, duration)  # type: ignore[arg-type]

    monkeypatch.setattr(X264Writer, "write", failing)
    clip = make_clip(tmp_path / "clip.mp4", frames=60)
    with TrivialEngine() as engine, pytest.raises(OutputError, match="the disk is full"):
        process_segment(task_for(clip, tmp_path), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_decoder_that_is_killed_is_an_error_that_may_be_tried_again(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=120)
    task = task_for(clip, tmp_path)

    def children() -> set[int]:
        # Of each thread; one that has just ended has none.
        texts = (path.read_text() for path in Path("/proc/self/task").glob("*/children") if path.exists())
        return {int(child) for text in texts for child in text.split()}

    others = children()

    def kill_decoder(_: int) -> None:
        # Each output's thread tells of its frames: the other one's call may have killed it already.
        for child in children() - others:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    with TrivialEngine() as engine, pytest.raises(DecoderCrashError, match=r"clip.mp4 was given up.*SIGKILL") as caught:
        process_segment(task, engine, kill_decoder)
    assert may_be_tried_again(caught.value)
    assert not list(tmp_path.glob("*.part"))
    with TrivialEngine() as engine:
        assert process_segment(task, engine).frames == 120


_MEASURE = """
import resource, sys
sys.path[:0] = [{tests!r}, {tests!r} + '/video']
from pathlib import Path
from test_pipeline import task_for
from trivial import TrivialEngine
from birefnet_batch.pipeline import process_segment
clip, folder = Path(sys.argv[1]), Path(sys.argv[2])
with TrivialEngine() as engine:
    frames = process_segment(task_for(clip, folder), engine).frames
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    peaks = {}
    for count in (300, 3000):
        clip = make_clip(tmp_path / f"{count}.mp4", frames=count)
        folder = tmp_path / f"parts-{count}"
        folder.mkdir()
        code = _MEASURE.format(tests=str(Path(__file__).parent))
        done = subprocess.run(
            [sys.executable, "-c", code, str(clip), str(folder)], capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, done.stderr
        frames, peaks[count] = map(int, done.stdout.split())
        assert frames == count
    assert peaks[3000] <= 1.05 * peaks[300], f"peak memory in kB by frames: {peaks}"


@pytest.mark.parametrize("refine", [True, False])
def test_the_source_s_own_alpha_is_multiplied_into_the_matte(tmp_path: Path, refine: bool) -> None:
    clip = tmp_path / "clear.mov"
    image = np.full((64, 96, 4), 250, np.uint8)
    image[..., 3] = np.repeat((0, 200, 255), 32)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "rgba"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode(None))
    task = task_for(clip, tmp_path)
    encode = replace(task.encode, output_type="PRORES4444 (.mov)", alpha=True)
    task = replace(task, encode=encode, backdrop=Backdrop("none"), refine_foreground=refine)
    with TrivialEngine(batch_size=2) as engine:
        record = process_segment(task, engine)
    assert record.frames == 3
    with av.open(str(task.part("video"))) as container:
        made = next(container.decode(video=0)).to_ndarray(format="rgba").astype(int)
    assert [made[32, x, 3] for x in (8, 48, 88)] == pytest.approx([0, 200, 255], abs=1)
    assert made[32, 48, :3] == pytest.approx(250, abs=1)


@pytest.mark.parametrize("trc", ["smpte2084", "arib-std-b67"])
def test_a_translucent_colour_of_a_high_dynamic_range_is_written_as_the_opaque_one(trc: str, tmp_path: Path) -> None:
    clip = tmp_path / "clear.mkv"
    image = np.full((64, 96, 4), 32768, np.uint16)
    image[..., 3] = np.repeat((16384, 32768, 65535), 32)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"color_trc": trc, "color_primaries": "bt2020"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "rgba64le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba64le")))
        container.mux(stream.encode(None))
    task = replace(task_for(clip, tmp_path), backdrop=Backdrop("colour", (0, 0, 0)), refine_foreground=False)
    assert task.info.hdr is not None
    with TrivialEngine() as engine:
        engine.run = lambda images: torch.full_like(images[:, :1], 20.0)  # type: ignore[method-assign]
        process_segment(task, engine)
    made = read_frames(task.part("video")).images[0]
    opaque = int(made[32, 88, 1])
    assert opaque > 100
    assert [int(made[32, x, 1]) for x in (8, 48)] == pytest.approx([opaque / 4, opaque / 2], abs=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 5)], ids="{0[0]}x{0[1]}".format)
def test_pictures_of_a_few_pixels_come_out_in_every_type(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = tmp_path / "tiny.mov"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "rgb24"
        for _ in range(2):
            image = np.full((size[1], size[0], 3), 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    task = task_for(clip, tmp_path)
    for form in FORMATS.values():
        encode = replace(task.encode, output_type=form.output_type, alpha=form.alpha)
        backdrop = Backdrop("none" if form.alpha else "colour")
        with TrivialEngine() as engine:
            process_segment(replace(task, encode=encode, backdrop=backdrop), engine)
        for kind in task.kinds:
            with av.open(str(task.part(kind))) as container:
                made = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert [image.shape[:2] for image in made] == [tuple(map(form.coded, size[::-1]))] * 2
            assert made[0] == pytest.approx(255 if kind == "mask" else 200, abs=2), (form.output_type, kind)
