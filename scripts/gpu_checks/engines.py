"""The network alone, on everything that runs it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from gpu_checks.table import Table, images_of, measure, network_of, seconds_of


def torch_checks(table: Table) -> torch.Tensor:
    from birefnet_batch.engines.cuda_network import CudaNetwork, CudaOptions
    from birefnet_batch.models.deformable import grid_sample_convolution, set_operator

    options = table.options
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    single = network_of(options, "fp32")
    with torch.inference_mode():
        wanted = single(images_of(options, 1)).sigmoid().cpu()
    del single

    def plain() -> None:
        network = network_of(options, "fp16" if options.device == "cuda" else "bf16")
        set_operator(network, grid_sample_convolution)
        dtype = next(network.parameters()).dtype

        def run(images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return network(images.to(dtype))

        measure(table, "torch eager, plain (the baseline)", 1, run, wanted)
        for batch in options.batches:
            if batch > 1:
                table.tried("torch eager, plain", lambda b=batch: measure(table, "torch eager, plain", b, run, wanted))

    table.tried("torch eager, plain (the baseline)", plain)
    graphs = options.device == "cuda"
    variants = {
        "ours": CudaOptions(triton=False, channels_last=False, graph=False),
        "ours, channels last": CudaOptions(triton=False, graph=False),
        "ours, channels last, triton": CudaOptions(triton=graphs, graph=False),
        "ours, triton, graph": CudaOptions(triton=graphs, channels_last=False, graph=graphs),
        "ours, channels last, triton, graph": CudaOptions(triton=graphs, graph=graphs),
    }
    if graphs:
        variants["ours, compiled, triton, graph"] = CudaOptions(compile=True)
    for precision in ("fp16", "bf16", "fp32") if graphs else ("fp32",):
        for name, how in variants.items():
            for batch in options.batches:
                label = f"torch {precision}, {name}"

                def check(how: CudaOptions = how, batch: int = batch, label: str = label, p: str = precision) -> None:
                    shape = (batch, 3, options.size, options.size)
                    measure(table, label, batch, CudaNetwork(network_of(options, p), shape, how), wanted)

                table.tried(label, check)
    return wanted


def triton_check(table: Table) -> None:
    def check() -> None:
        from birefnet_batch.engines.triton_deformable import triton_convolution
        from birefnet_batch.models.deformable import grid_sample_convolution, table_convolution

        size, device = table.options.size // 4, table.options.device
        for kernel in (1, 3, 7):
            shapes = ((1, 64, size, size), (1, 2 * kernel**2, size, size), (1, kernel**2, size, size))
            x, offset, modulation = (torch.randn(shape, device=device).half() for shape in shapes)
            weight = (torch.randn(256, 64, kernel, kernel, device=device) / (8 * kernel)).half()
            arguments = (x, offset, modulation.sigmoid(), weight)
            wanted = grid_sample_convolution(*(value.float() for value in arguments))
            error = (triton_convolution(*arguments).float() - wanted).abs().max()
            times = [
                seconds_of(lambda form=form, given=arguments: form(*given), table.options)
                for form in (triton_convolution, table_convolution, grid_sample_convolution)
            ]
            speed = " / ".join(f"{1e3 * value:.2f}" for value in times)
            table.add(f"deformable {kernel}x{kernel}: triton/table/grid, ms", "1", speed, f"max {float(error):.1e}", "")

    table.tried("triton against plain torch", check)


def onnx_file(options: argparse.Namespace, folder: Path, precision: str, form: str) -> Path:
    name = f"{options.network}-{options.size}x{options.size}-{precision}-{form}.onnx"
    given = (options.onnx or folder) / name
    if given.is_file():
        return given
    from birefnet_batch.engines.onnx_export.network import network_model

    arrays = {key: value.numpy() for key, value in network_of(options, "fp32").cpu().state_dict().items()}
    model = network_model(options.network, arrays, options.size, options.size, precision, form, {})
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def onnxruntime_checks(table: Table, wanted: torch.Tensor, folder: Path) -> None:
    options = table.options
    for precision, form in (("fp16", "native"), ("fp16", "gridsample"), ("fp32", "native")):
        if options.device == "cpu" and precision == "fp16":
            continue
        name = f"onnxruntime {options.device} {precision} {form}"

        def check(precision: str = precision, form: str = form, name: str = name) -> None:
            from birefnet_batch.engines.onnx_session import open_session
            from birefnet_batch.engines.onnxruntime_engine import run_on_gpu

            session = open_session(onnx_file(options, folder, precision, form), options.device)

            def run(images: torch.Tensor) -> torch.Tensor:
                if options.device == "cuda":
                    return run_on_gpu(session, images)
                return torch.from_numpy(session.run(["logits"], {"image": images.numpy()})[0])

            for batch in options.batches:
                measure(table, name, batch, run, wanted)

        table.tried(name, check)


def tensorrt_checks(table: Table, wanted: torch.Tensor, folder: Path) -> None:
    options = table.options
    for precision in ("fp16", "fp32"):
        for batch in options.batches:
            name = f"tensorrt {precision}"

            def check(precision: str = precision, batch: int = batch, name: str = name) -> None:
                from birefnet_batch.engines.plan_runner import PlanRunner
                from birefnet_batch.engines.tensorrt_builder import PlanProfile, build_plan
                from birefnet_batch.engines.tensorrt_module import load_tensorrt

                library = load_tensorrt()
                if options.device != "cuda":
                    raise RuntimeError("no GPU")
                plan = folder / f"{precision}-{batch}.plan"
                started = time.perf_counter()
                source = onnx_file(options, folder, precision, "gridsample")
                build_plan(library, source, plan, PlanProfile(options.size, options.size, batch))
                built = time.perf_counter() - started
                runner = PlanRunner(library, plan, (batch, 3, options.size, options.size))
                measure(
                    table,
                    f"{library.name} {library.version} {precision}, built in {built:.0f} s",
                    batch,
                    runner,
                    wanted,
                )

            table.tried(name, check)
