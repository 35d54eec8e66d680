"""What a GPU needs of the network changes no logits; on a CPU everything of it but graphs can be run."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import Mock

import pytest
import torch
from filled import filled_network
from host_numbers import HostNumbers

from birefnet_batch.engines import cuda_network, open_engine
from birefnet_batch.engines.base import EngineSpec
from birefnet_batch.engines.cuda_network import CudaNetwork, CudaOptions
from birefnet_batch.engines.torch_cuda_engine import TorchCudaEngine
from birefnet_batch.errors import EngineError
from birefnet_batch.models import linear, swin
from birefnet_batch.models.deformable import DeformableConv2d, grid_sample_convolution, set_operator
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights

DEMO = find_model("demo")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_layout_and_preparation_change_no_logits(dtype, tolerance):
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = filled_network("demo")(images)
    runner = CudaNetwork(filled_network("demo").to(dtype), (2, 3, 64, 96), CudaOptions(triton=False, graph=False))
    first = runner(images)
    torch.testing.assert_close(first.float(), wanted, atol=tolerance, rtol=0)
    runner(torch.zeros_like(images))
    assert torch.equal(runner(images), first)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here triton makes its kernel")
def test_where_triton_cannot_make_its_kernel_plain_operations_run(caplog):
    """As on a GPU without a C compiler: it says so at its first launch, not when it is imported."""
    pytest.importorskip("triton")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = filled_network("demo")(images)
    runner = CudaNetwork(filled_network("demo"), (1, 3, 64, 64), CudaOptions(graph=False))
    assert not runner.triton
    assert not runner.fused
    assert "triton's kernel cannot be had here" in caplog.text
    torch.testing.assert_close(runner(images), wanted, atol=1e-4, rtol=0)


def stand_in(monkeypatch, factor=1.0):
    """Put plain operations in the place of the deformable kernels, for there are none on a processor."""
    triton_deformable = pytest.importorskip("birefnet_batch.engines.triton_deformable")

    def projector(total, x, offset, modulation, rows, bias, head):
        side = math.isqrt(modulation.shape[1])
        weight = rows.view(side, side, x.shape[1], -1).permute(3, 2, 0, 1)
        made = grid_sample_convolution(x, offset, modulation, weight, bias).permute(0, 2, 3, 1)
        total += factor * made.reshape(-1, len(weight)).relu() @ head.T

    monkeypatch.setattr(triton_deformable, "triton_projection", projector)


@pytest.mark.parametrize(("factor", "taken"), [(1.0, True), (1.1, False), (float("nan"), False)])
def test_a_kernel_that_computes_something_else_is_not_used(monkeypatch, caplog, factor, taken):
    """What triton makes for a card that nobody has tried may be wrong."""
    stand_in(monkeypatch, factor)
    runner = CudaNetwork(filled_network("demo"), (1, 3, 64, 64), CudaOptions(graph=False))
    assert runner.triton == taken
    assert ("what it computes is wrong" in caplog.text) != taken


def gather_normalised(tokens, source, norm):
    return norm(tokens[source.clamp(min=0)]).masked_fill(source[:, None] < 0, 0)


def add_normalised(tokens, mixed, back, norm, ahead):
    total = tokens + mixed[back]
    return total + ahead, norm(total)


@pytest.mark.parametrize(("factor", "taken"), [(1.0, True), (1.1, False)])
def test_blocks_are_fused_where_their_kernels_are_right(monkeypatch, caplog, factor, taken):
    fused_blocks = pytest.importorskip("birefnet_batch.engines.fused_blocks")
    stand_in(monkeypatch)
    monkeypatch.setattr(fused_blocks, "gather_normalised", lambda *given: factor * gather_normalised(*given))
    monkeypatch.setattr(fused_blocks, "add_normalised", add_normalised)
    # On a GPU weights stay as they are.
    monkeypatch.setattr(linear, "_PACKED_DTYPES", ())
    images = torch.randn(2, 3, 96, 160)
    with torch.inference_mode():
        wanted = filled_network("demo")(images)
    runner = CudaNetwork(filled_network("demo"), (2, 3, 96, 160), CudaOptions(graph=False))
    assert runner.triton
    assert runner.fused == taken
    assert ("passes over tokens run as plain torch operations" in caplog.text) != taken
    torch.testing.assert_close(runner(images), wanted, atol=1e-4, rtol=0)
    assert not CudaNetwork(filled_network("demo"), (2, 3, 96, 160), CudaOptions(fused=False, graph=False)).fused


def test_bf16_is_refused_where_a_gpu_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    spec = EngineSpec("demo", 64, 64, "bf16", 1, "cuda")
    engine = TorchCudaEngine(spec, DEMO, locate_weights(DEMO), CudaOptions(), tmp_path)
    with pytest.raises(EngineError, match=r"8\.0 or newer; Tesla T4 is older: give engine\.precision=fp16"):
        engine.open()


@pytest.mark.parametrize(
    ("capability", "dtype", "refused"),
    [((7, 5), torch.float16, True), ((7, 5), torch.float32, False), ((8, 0), torch.float16, False)],
)
def test_half_precision_without_tensor_cores_is_left_to_plain_operations(monkeypatch, capability, dtype, refused):
    """There triton's kernel is right, and slower than what it stands for."""
    weight = Mock(is_cuda=True, dtype=dtype)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    with pytest.raises(RuntimeError, match="tensor cores") if refused else nullcontext():
        cuda_network._require_tensor_cores(weight)


def test_a_prepared_network_owns_what_a_graph_reads(monkeypatch):
    """A recorded launch goes on using memory that a shared cache could have given up meanwhile."""
    runner = CudaNetwork(filled_network("demo"), (1, 3, 64, 64), CudaOptions(triton=False, graph=False))
    images = torch.randn(1, 3, 64, 64)
    first = runner(images)
    monkeypatch.setattr(swin, "plan_windows", lambda *_: pytest.fail("the plan of windows was made again"))
    assert torch.equal(runner(images), first)


def test_what_is_recorded_of_a_batch_has_nothing_of_the_host_in_it():
    runner = CudaNetwork(filled_network("demo"), (2, 3, 96, 64), CudaOptions(triton=False, graph=False))
    images = torch.randn(2, 3, 96, 64)
    runner(images)
    with HostNumbers() as seen:
        runner(images)
        assert seen.count == 0
        torch.tensor(1.0)
    assert seen.count == 1, "torch says it otherwise: this test would find nothing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_compiling_on_a_processor_is_refused():
    with pytest.raises(EngineError, match="engine.compile=true is for torch on CUDA"):
        open_engine("torch", model=DEMO, weights=locate_weights(DEMO), width=64, height=64, compile=True)


def test_what_cannot_be_one_compiled_graph_is_refused():
    with pytest.raises(EngineError, match=r"engine\.compile=true needs triton's kernels, .* give engine.compile=false"):
        CudaNetwork(filled_network("demo"), (1, 3, 64, 64), CudaOptions(triton=False, compile=True))


def test_many_engines_of_one_process_are_all_compiled(monkeypatch):
    """Torch keeps eight forms of one function, and after that runs it as it stands, without a word in our record."""
    given: list[torch.nn.Module] = []

    def kept(network: torch.nn.Module, dynamic: bool) -> torch.nn.Module:
        given.append(network)
        return network

    monkeypatch.setattr("birefnet_batch.engines.cuda_network._use_triton", lambda network: True)
    monkeypatch.setattr(torch, "compile", kept)
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    CudaNetwork(filled_network("demo"), (1, 3, 64, 64), CudaOptions(compile=True, graph=False))
    assert len(given) == 1
    assert torch._dynamo.config.recompile_limit >= 64


class TracedError(Exception):
    """There is no GPU to go on with."""


def test_what_torch_compile_sees_is_one_graph_with_our_kernels_in_it(monkeypatch):
    triton_deformable = pytest.importorskip("birefnet_batch.engines.triton_deformable")
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., None]:
        graphs.append(graph)
        return Mock(side_effect=TracedError)

    # torch takes triton's kernels for such where it finds a GPU.
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    network, images = filled_network("demo").bfloat16(), torch.zeros(2, 3, 64, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        CudaNetwork(network, (2, 3, 64, 64), CudaOptions(triton=False, graph=False))(images)
        set_operator(network, triton_deformable.triton_convolution, triton_deformable.triton_projection)
        with pytest.raises(TracedError):
            torch.compile(network, dynamic=False, fullgraph=True, backend=backend)(images)
    torch.compiler.reset()
    (graph,) = graphs
    kernels = [node for node in graph.graph.nodes if "triton_kernel_wrapper" in str(node.target)]
    assert len(kernels) == sum(isinstance(module, DeformableConv2d) for module in network.modules())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_graphed_batch_agrees_with_the_processor(compiled):
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        wanted = filled_network("demo")(images)
    runner = CudaNetwork(filled_network("demo").cuda(), (2, 3, 64, 96), CudaOptions(compile=compiled))
    assert runner.graphed
    for _ in range(3):
        torch.testing.assert_close(runner(images.cuda()).cpu(), wanted, atol=5e-3, rtol=1e-3)
