"""What TensorRT-RTX compiles at an opening is there at the next one, and never stands in the way of one."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from birefnet_batch.engines import plan_runner
from birefnet_batch.engines.compiled_kernels import CompiledKernels, kernels_file
from birefnet_batch.engines.plan_runner import PlanRunner
from birefnet_batch.engines.tensorrt_module import TensorRT


class Cache:
    """TensorRT-RTX's runtime cache, as bytes that say what is in it."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        if b"other GPU" in content:
            return False
        self.content = content
        return True

    def serialize(self) -> memoryview | None:
        return memoryview(self.content) if self.content else None


class Config:
    """Of a context that is to be made."""

    cuda_graph_strategy = None
    cache: Cache | None = None

    def create_runtime_cache(self) -> Cache:
        return Cache()

    def set_runtime_cache(self, cache: Cache) -> bool:
        self.cache = cache
        return True


def test_kernels_of_one_opening_are_there_at_the_next(tmp_path):
    path = kernels_file(tmp_path / "model.plan", "NVIDIA GeForce RTX 4090/24")
    assert path == tmp_path / "kernels-NVIDIA_GeForce_RTX_4090_24.cache"
    first, second = Config(), Config()
    kernels = CompiledKernels(first, path)
    kernels.keep()
    assert list(tmp_path.iterdir()) == [], "nothing has been compiled yet"
    first.cache.content = b"kernels"
    kernels.keep()
    CompiledKernels(second, path)
    assert second.cache.content == b"kernels"
    assert list(tmp_path.iterdir()) == [path]


def test_kernels_that_are_kept_already_are_not_written_again(tmp_path):
    path = tmp_path / "kernels.cache"
    path.write_bytes(b"kernels")
    written = path.stat().st_ino
    CompiledKernels(Config(), path).keep()
    assert path.stat().st_ino == written


def test_kernels_of_another_gpu_are_refused_and_replaced(tmp_path):
    path, config = tmp_path / "kernels.cache", Config()
    path.write_bytes(b"of other GPU")
    kernels = CompiledKernels(config, path)
    assert config.cache.content == b""
    config.cache.content = b"ours"
    kernels.keep()
    assert path.read_bytes() == b"ours"


def test_kernels_that_cannot_be_kept_are_no_error(tmp_path):
    config = Config()
    kernels = CompiledKernels(config, tmp_path / "pruned" / "kernels.cache")
    config.cache.content = b"kernels"
    kernels.keep()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", [True, False])
def test_a_plan_keeps_what_it_compiled_when_it_was_opened_and_until_it_is_closed(tmp_path, monkeypatch, named):
    made = Config()

    def context(config: Config) -> SimpleNamespace:
        assert (config.cache is not None) == named

        def execute_async_v3(stream: int) -> bool:
            if named:
                config.cache.content = b"opened"
            return True

        return SimpleNamespace(
            set_input_shape=lambda *_: True, set_tensor_address=lambda *_: True, execute_async_v3=execute_async_v3
        )

    engine = SimpleNamespace(create_runtime_config=lambda: made, create_execution_context=context)
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda _: engine)
    strategies = SimpleNamespace(WHOLE_GRAPH_CAPTURE=1, DISABLED=0)
    module = SimpleNamespace(
        __version__="1.7",
        Runtime=lambda _: runtime,
        CudaGraphStrategy=strategies,
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
    )
    monkeypatch.setattr(plan_runner, "listener_of", lambda _: None)
    stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    there_when_waited: list[bool] = []
    cuda = SimpleNamespace(
        Stream=lambda: stream,
        stream=lambda _: nullcontext(),
        current_stream=lambda: stream,
        synchronize=lambda: there_when_waited.append(runner._context is not None),
    )
    monkeypatch.setattr(
        plan_runner, "torch", SimpleNamespace(zeros=lambda shape, device: torch.zeros(shape), cuda=cuda)
    )
    plan, kept = tmp_path / "model.plan", tmp_path / "kernels.cache"
    plan.write_bytes(b"plan")
    runner = PlanRunner(TensorRT(module, rtx=True), plan, (1, 3, 4, 4), kernels=kept if named else None)
    assert made.dynamic_shapes_kernel_specialization_strategy == "eager"
    if named:
        assert kept.read_bytes() == b"opened"
        made.cache.content = b"opened and run"
    runner.close()
    assert there_when_waited == [True], "a context may go when its work has ended"
    assert runner._context is None
    assert (kept.read_bytes() == b"opened and run") if named else not kept.exists()
