"""What of a folder is an engine store's own."""

from __future__ import annotations

from typing import Any

import pytest

from birefnet_batch.engines import torch_cuda_engine
from birefnet_batch.engines.base import EngineSpec
from birefnet_batch.engines.cuda_network import CudaOptions
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.torch_cuda_engine import TorchCudaEngine


def test_a_store_in_which_torch_alone_wrote_is_known_as_one(tmp_path, monkeypatch):
    class OpenedError(Exception):
        pass

    def stop(*_: Any) -> None:
        raise OpenedError

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    monkeypatch.setattr(torch_cuda_engine, "load_network", stop)
    nothing: Any = None
    spec = EngineSpec("demo", 64, 64, "fp16", 1, "cuda")
    with pytest.raises(OpenedError):
        TorchCudaEngine(spec, nothing, nothing, CudaOptions(compile=True), tmp_path / "store").open()
    kernels = tmp_path / "store" / "inductor"
    kernels.mkdir()
    assert EngineStore(tmp_path / "store").caches() == {"inductor": [kernels]}
