"""What is done with frames around the network, and all of it together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from gpu_checks.table import Table, network_of, seconds_of, synchronize

ROOT = Path(__file__).resolve().parent.parent.parent
Kept = dict[str, list[Any]]
"""Images that were to be encoded, of the video and of the mask."""


def foreground_checks(table: Table) -> None:
    for scale in (1, 2):
        width, height = (scale * side for side in table.options.frame)
        name = f"foreground {width}x{height}: compiled/plain, ms"

        def check(width: int = width, height: int = height, name: str = name) -> None:
            from birefnet_batch.matting.foreground import estimate_by_arrays, estimate_foreground

            image, alpha = torch.rand(1, 3, height, width), torch.rand(1, 1, height, width)
            wanted = estimate_by_arrays(image.double(), alpha.double())
            there = [tensor.to(table.options.device) for tensor in (image, alpha)]
            error = float((estimate_foreground(*there).cpu() - wanted).abs().max())
            times = [
                seconds_of(lambda form=form: form(*there), table.options)
                for form in (estimate_foreground, estimate_by_arrays)
            ]
            speed = " / ".join(f"{1e3 * seconds:.2f}" for seconds in times)
            table.add(name, "1", speed, f"max {error:.1e}", "")

        table.tried(name, check)


def stages_check(table: Table) -> None:
    """From decoded frames in host memory to bytes for the encoders: one by one, and as the pipeline does it."""

    def check() -> None:
        import numpy as np

        from birefnet_batch import pipeline
        from birefnet_batch.backdrop import Backdrop
        from birefnet_batch.engines.base import Engine, EngineSpec
        from birefnet_batch.engines.cuda_network import CudaNetwork, CudaOptions
        from birefnet_batch.matting import (
            composite,
            estimate_foreground,
            frames_to_input,
            logits_to_matte,
            to_bytes,
        )
        from birefnet_batch.segment_task import SegmentTask
        from birefnet_batch.segments import Segment
        from birefnet_batch.video.encode import EncodeSpec
        from birefnet_batch.video.info import VideoInfo
        from birefnet_batch.video.reader import Frame

        options, on_gpu = table.options, table.options.device == "cuda"
        batch, (width, height) = max(options.batches), options.frame
        size = (options.size, options.size)
        precision = "fp16" if on_gpu else "fp32"
        how = CudaOptions(triton=on_gpu, graph=on_gpu)
        runner = CudaNetwork(network_of(table, precision), (batch, 3, *size), how)
        if on_gpu and not (runner.triton and runner.fused):
            raise RuntimeError("triton cannot make this network's kernels here; standard error says why")

        class CheckedEngine(Engine):
            family = "checked"
            device = torch.device(options.device)

            def open(self) -> None: ...

            def close(self) -> None: ...

            def run(self, images: torch.Tensor) -> torch.Tensor:
                return runner(images)

            def describe(self) -> dict[str, Any]:
                return {}

        # No two batches that follow each other are alike: what is written over too early shows.
        shown = np.random.default_rng(0).integers(0, 256, (batch + 1, height, width, 3), dtype=np.uint8)
        behind = torch.tensor((0.0, 1.0, 0.0), device=options.device)

        def one_by_one(frames: int, engine: Engine, kept: Kept | None = None) -> None:
            for first in range(0, frames, batch):
                given = np.stack([shown[number % len(shown)] for number in range(first, first + batch)])
                levels = torch.from_numpy(given).to(options.device)
                mattes = logits_to_matte(engine.infer(frames_to_input(levels, *size)), width, height)
                colours = levels.permute(0, 3, 1, 2).float().div_(255)
                subject = estimate_foreground(colours, mattes)
                video = to_bytes(composite(subject, mattes, behind)).cpu()
                mask = to_bytes(mattes).cpu()[..., 0]
                if kept is not None:
                    kept["video"].extend(video.numpy())
                    kept["mask"].extend(mask.numpy())

        class Frames:
            corrupt_frames, notes = 0, ()

            def __init__(self, count: int) -> None:
                self.count = count

            def __iter__(self) -> Any:
                for number in range(self.count):
                    yield Frame(number, number, 1, shown[number % len(shown)], lambda: None)

            def stop(self) -> None: ...

        class Writer:
            def __init__(self, kept: list[Any] | None) -> None:
                self.kept = kept

            def write(self, image: Any, *_: int) -> None:
                if self.kept is not None:
                    self.kept.append(image.copy())

        rate, base = Fraction(30), Fraction(1, 30)
        facts = (width, height, base, rate, None, None, None, "mp4", "h264", 0, 0, Fraction(0))
        task = SegmentTask(
            source=table.scratch / "none.mp4",
            info=VideoInfo(*facts),
            segment=Segment(0),
            size=size,
            refine_foreground=True,
            backdrop=Backdrop("colour", (0, 255, 0)),
            premultiplied=False,
            encode=EncodeSpec("X264 (.mp4)", "high", "fast", width, height, base, rate, None, threads=1),
            folder=table.scratch,
            kinds=("video", "mask"),
            decode_timeout_s=60,
        )

        def overlapping(frames: int, engine: Engine, kept: Kept | None = None) -> None:
            def open_part(path: Path, spec: EncodeSpec, kind: str) -> Any:
                return nullcontext(Writer(None if kept is None else kept[kind]))

            with (
                patch.object(pipeline, "FrameReader", lambda *_, **__: nullcontext(Frames(frames))),
                patch.object(pipeline, "open_part", open_part),
            ):
                made = pipeline.process_segment(task, engine).frames
            if made != frames:
                raise RuntimeError(f"{made} of {frames} frames came through")

        with torch.inference_mode(), CheckedEngine(EngineSpec("", *size, precision, batch, options.device)) as engine:
            baseline = None
            for way, work in (("one by one", one_by_one), ("overlapping", overlapping)):
                speed = _frames_a_second(lambda frames, work=work: work(frames, engine), batch, options.seconds, table)
                baseline = baseline or speed
                name = f"{width}x{height} frames to bytes for encoders, {way}"
                table.add(name, str(batch), f"{speed:.2f} frames/s ({speed / baseline:.2f}x)", "", "")
            # Warm by now: the host is ahead of the device by as much as it may.
            wanted: Kept = {"video": [], "mask": []}
            found: Kept = {"video": [], "mask": []}
            one_by_one(6 * batch, engine, wanted)
            overlapping(6 * batch, engine, found)
            for kind in ("video", "mask"):
                pairs = zip(found[kind], wanted[kind], strict=True)
                off = [int(np.abs(one.astype(np.int16) - other).max()) for one, other in pairs]
                said = f"max {max(off)} of 255 in {sum(value > 1 for value in off)} of {len(off)} frames"
                table.add(f"{kind}: overlapping against one by one", str(batch), "", said, "")

    table.tried("frames to bytes for encoders", check)


def _frames_a_second(work: Callable[[int], None], batch: int, seconds: float, table: Table) -> float:
    def took(frames: int) -> float:
        synchronize(table.options.device)
        started = time.perf_counter()
        work(frames)
        synchronize(table.options.device)
        return time.perf_counter() - started

    took(batch)
    frames = batch * max(2, round(2 * seconds / took(2 * batch)))
    return frames / took(frames)


def pipeline_check(table: Table) -> None:
    def check() -> None:
        from birefnet_batch.conf_folder import demo_clips

        clip = min(demo_clips().glob("*.mp4"))
        command = [sys.executable, "-m", "birefnet_batch", f"request.video_url={clip}", "request.model=demo"]
        command += [f"output={table.scratch / 'out'}", "engine.name=torch", f"engine.device={table.options.device}"]
        size = 512 if table.options.size >= 512 else 256
        command += [f"request.operating_resolution={size}"]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-300:])
        took = time.perf_counter() - started
        (record,) = (table.scratch / "out" / "jobs").glob("*/job.json")
        facts = json.loads(record.read_text())
        rate = facts["source"]["frames"] / facts["timings"]["total"]
        speed = f"{rate:.2f} frames/s, {took:.1f} s in all at {size}x{size}"
        table.add("pipeline, demo model, one clip", "", speed, "", "")

    table.tried("pipeline end to end", check)
