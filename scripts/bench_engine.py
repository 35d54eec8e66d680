"""Every engine that this machine has, on one model and resolution: build, open, speed by batch, error, memory.

    .venv/bin/python scripts/bench_engine.py [--model heavy] [--resolution 1024x1024] [--batches 1,2,4] [--rounds 3]
        [--engines torch:fp32,onnxruntime/openvino:fp32,torch+compile:fp16] [--weights FILE] [--threads 2]

Without --engines: all that there are for a CPU, or for CUDA. Each engine runs in processes of its own over one
store that is empty at first: `build` is the first opening with a batch, which from the second batch on finds the ONNX
file, and TensorRT what was measured; `open` is the next opening. `error` is of the matte against float32 torch.
Without --weights the weights are the deterministic ones of tests/reference. What cannot be had is listed with the
reason; where that is all, the status is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_model import write_weights
from counts import count, counts, sides

from birefnet_batch.engines.onnx_session import PROVIDERS
from birefnet_batch.engines.required import FAMILIES, PRECISIONS
from birefnet_batch.models.registry import SHIPPED, find_model

ENGINES = (*FAMILIES, "torch+compile", *(f"onnxruntime/{provider}" for provider in PROVIDERS))
ON_A_CPU = (
    "torch:fp32",
    "torch:bf16",
    "torch:fp16",
    "onnxruntime/cpu:fp32",
    "onnxruntime/cpu:fp16",
    "onnxruntime/openvino:fp32",
    "onnxruntime/openvino:fp16",
)
ON_CUDA = (
    *(f"torch:{precision}" for precision in ("fp16", "bf16", "fp32")),
    "torch+compile:fp16",
    *(f"onnxruntime/cuda:{precision}" for precision in ("fp16", "fp32")),
    "onnxruntime/tensorrt:fp16",
    *(f"tensorrt:{precision}" for precision in ("fp16", "bf16", "fp32")),
)


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Open one engine and run it; what a child process does."""
    from birefnet_batch.engines import open_engine
    from birefnet_batch.engines.memory import peak_bytes
    from birefnet_batch.engines.store import EngineStore
    from birefnet_batch.errors import BirefnetBatchError
    from birefnet_batch.models.weights import load_network, locate_weights
    from birefnet_batch.process_tuning import exact_float32

    name, _, provider = given["engine"].partition("/")
    name, _, compiled = name.partition("+")
    model = find_model(given["model"])
    width, height = given["resolution"]
    images = torch.randn(given["batch"], 3, height, width, generator=torch.Generator().manual_seed(0))
    try:
        weights = locate_weights(model, given["weights"])
        started = time.perf_counter()
        with open_engine(
            name,
            provider=provider or "auto",
            compile=bool(compiled),
            model=model,
            weights=weights,
            width=width,
            height=height,
            precision=given["precision"],
            batch_size=given["batch"],
            threads=given["threads"],
            store=EngineStore(Path(given["store"])),
        ) as engine:
            opened = time.perf_counter() - started
            on_device = images.to(engine.device)
            logits = engine.infer(on_device).cpu()
            seconds = []
            for _ in range(given["rounds"]):
                started = time.perf_counter()
                engine.infer(on_device).cpu()
                seconds.append(time.perf_counter() - started)
            memory = peak_bytes() / 2**30
            if engine.device.type == "cuda":
                free, total = torch.cuda.mem_get_info()
                memory = (total - free) / 2**30
    except BirefnetBatchError as error:
        return {"refused": " ".join(str(error).split())}
    error = None
    if given["compare"]:
        exact_float32()
        network = load_network(model, weights).to(engine.device)
        with torch.inference_mode():
            # The last one: what goes wrong in batches alone shows.
            wanted = network(images[-1:].to(engine.device)).cpu()
        error = float((logits[-1:].sigmoid() - wanted.sigmoid()).abs().mean())
    return {"open": opened, "seconds": median(seconds), "memory": memory, "error": error}


def in_child(given: dict[str, Any]) -> dict[str, Any]:
    """`measure` in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--child", json.dumps(given)], capture_output=True, text=True)
    if done.returncode:
        return {"refused": f"the process ended with {done.returncode}: {done.stderr[-200:]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def engines(text: str) -> list[str]:
    """What `--engines` names, for argparse's `type`.

    Raises:
        ArgumentTypeError: one is none.
    """
    for word in text.split(","):
        name, _, precision = word.partition(":")
        if name not in ENGINES or precision not in PRECISIONS:
            raise argparse.ArgumentTypeError(
                f"{word!r} is no ENGINE:PRECISION; engines are {', '.join(ENGINES)}, precisions {', '.join(PRECISIONS)}"
            )
    return text.split(",")


def main() -> None:
    """Print a line per engine and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="heavy", choices=SHIPPED.short_names)
    parser.add_argument("--resolution", type=sides, default="1024x1024")
    parser.add_argument("--batches", type=counts, default="1,2,4")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--engines", type=engines)
    parser.add_argument("--weights")
    parser.add_argument("--threads", type=count)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(json.loads(options.child))))
        return
    on_gpu = torch.cuda.is_available()
    at = "{}x{}".format(*options.resolution)
    print(torch.cuda.get_device_name() if on_gpu else "CPU", f"{options.model} at {at}")
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights
        if weights is None:
            weights = f"{folder}/weights.safetensors"
            write_weights(find_model(options.model).network, Path(weights))
        measured = False
        for name in options.engines or (ON_CUDA if on_gpu else ON_A_CPU):
            engine, _, precision = name.partition(":")
            for batch in options.batches:
                given = {
                    **{key: getattr(options, key) for key in ("model", "resolution", "rounds", "threads")},
                    "engine": engine,
                    "precision": precision,
                    "batch": batch,
                    "weights": weights,
                    "store": f"{folder}/store",
                    "compare": True,
                }
                first, second = in_child(given), in_child({**given, "compare": False})
                if "refused" in second or "refused" in first:
                    print(f"{name:25} batch {batch}: {first.get('refused') or second['refused']}", flush=True)
                    break
                measured = True
                print(
                    f"{name:25} batch {batch}: build {first['open']:.1f} s, open {second['open']:.1f} s, "
                    f"{second['seconds']:.3f} s a batch, {batch / second['seconds']:.2f} frames/s, "
                    f"error {first['error']:.1e}, {second['memory']:.2f} GiB",
                    flush=True,
                )
    if not measured:
        sys.exit(1)


if __name__ == "__main__":
    main()
