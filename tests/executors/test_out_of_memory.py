"""A segment that does not fit in memory is done again with smaller batches, and its record says so."""

from __future__ import annotations

import errno
import json
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from clips import make_clip, read_frames
from trivial import TrivialEngine

from birefnet_batch import Request, Settings, engines, run
from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.errors import EngineError, EngineMemoryError, InputError, OutputError
from birefnet_batch.settings import EngineSettings, MediaSettings
from birefnet_batch.video.libav_writer import output_errors
from birefnet_batch.video.x264 import X264Writer

ABSURD = 1 << 46
NO_THREAD = "can't start new thread"


class Hungry(TrivialEngine):
    """Asks the allocator for more than there is as soon as the batch is above what its memory holds."""

    def __init__(self, holds: int, error: str, **size: int) -> None:
        super().__init__(**size)
        self._holds = holds
        self._error = error

    def open(self) -> None:
        """Fails, where that is asked for, before anything runs."""
        if self._error == "opening" and self.spec.batch_size > self._holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Fails in the third batch, so that parts of the segment are written by then."""
        if images.shape[0] > self._holds and len(self.batches) == 2:
            if self._error == "gpu":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if self._error == "thread":
                raise RuntimeError(NO_THREAD)
            torch.empty(ABSURD)
        return super().run(images)


def cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holds: int, error: str = "cpu") -> dict[str, Any]:
    monkeypatch.setattr(
        engines,
        "open_engine",
        lambda name, *, width, height, batch_size, **_: Hungry(
            holds, error, width=width, height=height, batch_size=batch_size
        ),
    )
    clip = make_clip(tmp_path / "clip.mp4", frames=17)
    request = Request.from_dict({"video_url": str(clip), "model": "demo", "operating_resolution": 256})
    settings = Settings(
        output=str(tmp_path / "out"), engine=EngineSettings(batch_size=4), media=MediaSettings(segment_frames=50)
    )
    run(settings, [request])
    (record,) = (tmp_path / "out").glob("jobs/*/job.json")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


@pytest.mark.parametrize("error", ["cpu", "gpu"])
def test_a_segment_starts_again_at_half_the_batch_and_no_frame_is_lost(tmp_path, monkeypatch, error):
    record = cut_out(tmp_path, monkeypatch, holds=2, error=error)
    assert record["status"] == "succeeded"
    assert record["reproducible"] is False
    assert record["notes"] == ["out of memory with batches of 4: segment 0 was done again with 2"]
    (video,) = (tmp_path / "out").glob("jobs/*/clip.mp4")
    assert len(read_frames(video).times) == 17


def test_an_engine_that_does_not_open_is_tried_with_half_the_batch_and_the_record_says_so(tmp_path, monkeypatch):
    record = cut_out(tmp_path, monkeypatch, holds=1, error="opening")
    assert record["status"] == "succeeded"
    assert record["reproducible"] is False
    assert record["notes"] == ["out of memory while the engine was opened with batches of 2: it has 1"]


def test_an_engine_that_does_not_open_for_one_frame_fails_with_the_reason(tmp_path, monkeypatch):
    with pytest.raises(EngineMemoryError) as caught:
        cut_out(tmp_path, monkeypatch, holds=0, error="opening")
    assert "does not open: CUDA out of memory" in str(caught.value)
    assert "give a smaller operating_resolution" in str(caught.value)


def test_what_fits_is_reproducible(tmp_path, monkeypatch):
    record = cut_out(tmp_path, monkeypatch, holds=4)
    assert record["reproducible"] is True
    assert record["notes"] == []


def test_a_frame_that_does_not_fit_alone_fails_with_what_to_do(tmp_path, monkeypatch):
    record = cut_out(tmp_path, monkeypatch, holds=0)
    assert record["status"] == "failed"
    assert "give a smaller operating_resolution" in record["error"]["message"]
    assert record["reproducible"] is False
    assert record["notes"] == [
        f"out of memory with batches of {batch}: segment 0 was done again with {batch // 2}" for batch in (4, 2)
    ]


def test_each_librarys_words_for_it_are_known():
    with pytest.raises(RuntimeError) as torch_error:
        torch.empty(ABSURD)
    assert is_out_of_memory(torch_error.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(ValueError("out of bounds"))
    few = "upsample_bilinear2d_nhwc only supports output tensors with less than INT_MAX elements, but got [32, 24, ...]"
    assert is_out_of_memory(RuntimeError(few))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))


def test_a_file_s_name_does_not_say_that_memory_ran_out():
    assert not is_out_of_memory(InputError("/clips/Out of Memory.mp4 has 14 frames that cannot be decoded"))
    assert not is_out_of_memory(FileNotFoundError(errno.ENOENT, "No such file or directory", "/Out of Memory.mp4"))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory", "/clips/clip.mp4"))
    assert is_out_of_memory(EngineError("the plan could not be built: OutOfMemory"))


@pytest.fixture
def bounded() -> Iterator[None]:
    """A limit of this process's address space, far above what it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 46, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused_by_libx264() -> Exception:
    """What libav says when libx264 could not allocate its frames."""
    with pytest.raises(OutputError) as caught, output_errors(Path("video-00000.part")):
        av.error.err_check(-542398533)
    return caught.value


def test_under_a_limit_of_memory_what_names_no_reason_is_one_of_memory(bounded):
    assert is_out_of_memory(RuntimeError(NO_THREAD))
    assert is_out_of_memory(refused_by_libx264())
    assert is_out_of_memory(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"))
    assert not is_out_of_memory(RuntimeError("a defect"))


def test_without_one_it_is_not():
    assert not is_out_of_memory(RuntimeError(NO_THREAD))
    assert not is_out_of_memory(refused_by_libx264())


@pytest.mark.parametrize(("code", "memory"), [(-errno.ENOMEM, True), (-errno.ENOSPC, False)])
def test_an_encoder_s_error_is_one_of_memory_where_the_encoder_says_so(code, memory):
    with pytest.raises(OutputError) as caught, output_errors(Path("Out of Memory.mp4")):
        av.error.err_check(code)
    assert is_out_of_memory(caught.value) is memory


def test_an_encoder_that_a_limit_of_memory_keeps_from_opening_has_its_segment_done_again(
    tmp_path, monkeypatch, bounded
):
    refusals = [refused_by_libx264()]
    write = X264Writer.write

    def refused_once(self: X264Writer, *frame: Any) -> None:
        if refusals:
            raise refusals.pop()
        write(self, *frame)

    monkeypatch.setattr(X264Writer, "write", refused_once)
    record = cut_out(tmp_path, monkeypatch, holds=4)
    assert record["status"] == "succeeded"
    assert record["notes"] == ["out of memory with batches of 4: segment 0 was done again with 2"]


def test_a_limit_of_memory_that_one_frame_does_not_fit_in_is_named(tmp_path, monkeypatch, bounded):
    record = cut_out(tmp_path, monkeypatch, holds=0, error="thread")
    assert record["error"]["type"] == "EngineMemoryError"
    told = r"can't start new thread \(ulimit -v lets this process have 65536\.0 GiB\); one frame is the smallest batch"
    assert re.search(told, record["error"]["message"])


ARENA = """
import onnx, onnxruntime as ort, numpy as np, sys
from onnx import helper, TensorProto
node = helper.make_node("Expand", ["x", "shape"], ["y"])
graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
    helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"max_mem": 1 << 20}))
options = ort.SessionOptions()
options.add_session_config_entry("session.use_env_allocators", "1")
session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
from birefnet_batch.engines.memory import is_out_of_memory
try:
    session.run(None, {"x": np.zeros(1, np.float32), "shape": np.array([1 << 24])})
except Exception as error:
    print(is_out_of_memory(error), error)
"""


def test_onnx_runtimes_words_for_it_are_known():
    import subprocess
    import sys

    pytest.importorskip("onnxruntime")
    # In a process of its own: the small budget is the whole process's.
    done = subprocess.run([sys.executable, "-c", ARENA], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True"), done.stdout
