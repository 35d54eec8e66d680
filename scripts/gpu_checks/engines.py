"""The network alone, on everything that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from plain_birefnet import SIZES, PlainBiRefNet

from gpu_checks.table import BASELINE, DTYPES, Table, measure, network_of

if TYPE_CHECKING:
    from birefnet_batch.engines.cuda_network import CudaOptions


def torch_checks(table: Table) -> None:
    """The baseline, each lever of ours at the largest batch, and all of them in every precision."""
    from birefnet_batch.engines.cuda_network import CudaOptions

    options, on_gpu = table.options, table.options.device == "cuda"
    most = max(options.batches)
    for batch in options.batches:
        table.tried(BASELINE, lambda batch=batch: measure(table, BASELINE, batch, lambda: _plain(table)))
    # A kernel of ours that breaks the device's context costs what follows in this process, and so does a recording that
    # fails: what has neither comes first.
    levers = {
        "prepared": CudaOptions(triton=False, channels_last=False, graph=False),
        "prepared, channels last": CudaOptions(triton=False, graph=False),
        "prepared, graph": CudaOptions(triton=False, channels_last=False, graph=on_gpu),
        "all of it but triton": CudaOptions(triton=False, graph=on_gpu),
    }
    with_triton = {
        "prepared, triton": CudaOptions(triton=on_gpu, fused=False, channels_last=False, graph=False),
        "all of it but fused blocks": CudaOptions(triton=on_gpu, fused=False, graph=on_gpu),
        "all of it but channels last": CudaOptions(triton=on_gpu, channels_last=False, graph=on_gpu),
    }
    for name, how in levers.items():
        _ours(table, "fp16" if on_gpu else "fp32", name, most, how)
    for batch in options.batches if on_gpu else ():
        _ours(table, "fp16", "all of it", batch, CudaOptions())
    for name, how in with_triton.items():
        _ours(table, "fp16" if on_gpu else "fp32", name, most, how)
    if on_gpu:
        _ours(table, "bf16", "all of it", most, CudaOptions())
        _ours(table, "fp32", "all of it", 1, CudaOptions())
        # Last: cuDNN makes a plan for each shape, half a second for each of some thirty.
        _ours(table, "fp16", "all of it, cuDNN's attention allowed", most, CudaOptions(any_attention=True))


def benchmark_checks(table: Table) -> None:
    """Convolutions that cuDNN has tried, not guessed; in a process that has run none: torch keeps what was chosen."""
    from birefnet_batch.engines.cuda_network import CudaOptions

    if table.options.device != "cuda":
        table.add("torch fp16, cudnn.benchmark", "", "left out", "no GPU", "")
        return
    torch.backends.cudnn.benchmark = True
    most = max(table.options.batches)
    _ours(table, "fp16", "all of it, cudnn.benchmark", most, CudaOptions())
    _ours(table, "fp16", "all of it but triton, cudnn.benchmark", most, CudaOptions(triton=False))


def compile_checks(table: Table) -> None:
    """torch.compile of the same, last: it takes minutes."""
    from birefnet_batch.engines.cuda_network import CudaOptions

    if table.options.device != "cuda":
        table.add("torch fp16, compiled", "", "left out", "no GPU", "")
        return
    _ours(table, "fp16", "all of it, compiled", max(table.options.batches), CudaOptions(compile=True))
    counters = torch._dynamo.utils.counters
    breaks = sum(counters["graph_break"].values())
    table.add("torch.compile: graphs, breaks", "", f"{counters['stats']['unique_graphs']}, {breaks}", "", "")


def _plain(table: Table) -> Callable[[torch.Tensor], torch.Tensor]:
    from birefnet_batch.models.deformable import grid_sample_convolution, set_operator

    precision = "fp16" if table.options.device == "cuda" else "bf16"
    dtype = DTYPES[precision]
    # Ours makes masks and folds weights in each forward that is not prepared: a baseline that is too easily beaten.
    if table.options.network in SIZES:
        network = PlainBiRefNet(table.options.network).eval()
        network.load_state_dict(network_of(table, "fp32").state_dict())
        network.to(table.options.device, dtype)
    else:
        network = network_of(table, precision)
        set_operator(network, grid_sample_convolution)

    def run(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(images.to(dtype))

    return run


def _ours(table: Table, precision: str, name: str, batch: int, how: CudaOptions) -> None:
    from birefnet_batch.engines.cuda_network import CudaNetwork

    shape, label = (batch, 3, table.options.size, table.options.size), f"torch {precision}, {name}"

    def check() -> None:
        # Before minutes of compilation.
        if how.triton and not _triton_works(table.options.device, precision):
            raise RuntimeError("triton cannot make its kernel here; the group triton says why")
        measure(table, label, batch, make)

    def make() -> Callable[[torch.Tensor], torch.Tensor]:
        made = CudaNetwork(network_of(table, precision), shape, how)
        if how.triton and not made.triton:
            # It warns and goes on, under this row's name.
            raise RuntimeError("triton cannot make this network's kernels here; standard error says why")
        if how.triton and how.fused and not how.compile and not made.fused:
            raise RuntimeError("triton cannot make the kernels of fused blocks here; standard error says why")
        return made

    table.tried(label, check)


@cache
def _triton_works(device: str, precision: str) -> bool:
    """Asked of a network that is made at once."""
    from birefnet_batch.engines.cuda_network import CudaNetwork, CudaOptions
    from birefnet_batch.models import build_network

    small = build_network("demo").eval().to(device, DTYPES[precision])
    return CudaNetwork(small, (1, 3, 64, 64), CudaOptions(channels_last=False, graph=False)).triton


def onnx_file(table: Table, precision: str, form: str) -> Path:
    options, folder = table.options, table.scratch
    name = f"{options.network}-{options.size}x{options.size}-{precision}-{form}.onnx"
    given = (options.onnx or folder) / name
    if given.is_file():
        return given
    from birefnet_batch.engines.onnx_export.network import network_model

    arrays = {key: value.numpy() for key, value in network_of(table, "fp32").cpu().state_dict().items()}
    model = network_model(options.network, arrays, options.size, options.size, precision, form, {})
    path = folder / name
    partial = path.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    return partial.replace(path)


def onnxruntime_checks(table: Table) -> None:
    """ONNX Runtime's CUDA provider, with both forms of deformable convolution, or the CPU's."""
    options = table.options
    rows = [("fp16", "native"), ("fp16", "gridsample"), ("fp32", "native")] if options.device == "cuda" else []
    for precision, form in rows or [("fp32", "native")]:
        name = f"onnxruntime {options.device} {precision} {form}"

        def check(precision: str = precision, form: str = form, name: str = name) -> None:
            from birefnet_batch.engines.onnx_session import left_to_cpu, open_session, require_provider, run_on_gpu

            # A file of a large network takes a minute.
            require_provider(options.device, form)

            def make() -> Callable[[torch.Tensor], torch.Tensor]:
                session = open_session(onnx_file(table, precision, form), options.device, form=form)
                if options.device == "cuda":
                    if left := left_to_cpu(session):
                        table.add(
                            f"{name}: nodes on the CPU", "", ", ".join(f"{left[key]} {key}" for key in left), "", ""
                        )
                    return lambda images: run_on_gpu(session, images)
                return lambda images: torch.from_numpy(session.run(["logits"], {"image": images.numpy()})[0])

            for batch in options.batches:
                measure(table, name, batch, make)

        table.tried(name, check)


def tensorrt_checks(table: Table) -> None:
    """TensorRT, or TensorRT-RTX: compiled from our files, and run."""
    options = table.options
    for precision, batch in [*(("fp16", batch) for batch in options.batches), ("fp32", 1)]:
        name = f"tensorrt {precision}"

        def check(precision: str = precision, batch: int = batch) -> None:
            from birefnet_batch.engines.plan_runner import PlanRunner
            from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan
            from birefnet_batch.engines.tensorrt_module import load_tensorrt

            library = load_tensorrt()
            if options.device != "cuda":
                raise RuntimeError("no GPU")
            plan = table.scratch / f"{precision}-{batch}.plan"
            source = onnx_file(table, precision, "gridsample")
            started = time.perf_counter()
            profile = PlanProfile(options.size, options.size, batch)
            build_plan(library, source, plan, profile, table.scratch / "timing.cache")
            built = time.perf_counter() - started
            name = f"{library.name} {library.version} {precision}, built in {built:.0f} s"
            measure(table, name, batch, lambda: PlanRunner(library, plan, (batch, 3, options.size, options.size)))

        table.tried(name, check)
