"""How near the pipeline comes to its slowest stage, with an engine that costs nothing.

    .venv/bin/python scripts/bench_pipeline.py [--frames 90] [--width 1920] [--height 1080] [--types x264 vp9 ...]

For each output type: the stages one after another, each alone over the same frames; then the pipeline, in which they
overlap. The least that a machine can do is the larger of its slowest stage and all processor time over its cores; the
last column is how much longer the pipeline takes than that.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import torch

from birefnet_batch.device_streams import DeviceStreams
from birefnet_batch.engines.base import Engine, EngineSpec
from birefnet_batch.finishing import Finishing
from birefnet_batch.pipeline import _matte, process_segment
from birefnet_batch.process_tuning import compute_alone, keep_freed_memory
from birefnet_batch.request import OUTPUT_SHORT_NAMES
from birefnet_batch.segment_task import Batch, SegmentTask
from birefnet_batch.segments import Segment
from birefnet_batch.settings import MediaSettings
from birefnet_batch.video.encode import EncodeSpec, open_part
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.info import VideoInfo
from birefnet_batch.video.look import look_of
from birefnet_batch.video.probe import probe
from birefnet_batch.video.reader import FrameReader


class FreeEngine(Engine):
    """Logits from brightness, at a small resolution."""

    family: ClassVar[str] = "free"

    def __init__(self) -> None:
        super().__init__(EngineSpec("demo", 256, 256, "fp32", 1, "cpu"))

    def open(self) -> None: ...

    def close(self) -> None: ...

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Ten times the first channel."""
        return images[:, :1] * 10

    def describe(self) -> dict[str, Any]:
        """Nothing of interest."""
        return {"family": self.family}


def make_clip(path: Path, frames: int, width: int, height: int, rate: int = 30) -> None:
    """A bright blob that moves over a textured ground."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(20, 90, (height // 8 + 1, width // 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    rows, columns = np.ogrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.ascontiguousarray(ground[:height, index % width : index % width + width])
            centre = width * (0.2 + 0.6 * index / frames)
            image[(columns - centre) ** 2 + (rows - height / 2) ** 2 < (height / 3) ** 2] = (235, 190, 120)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def task_of(source: Path, info: VideoInfo, output_type: str, folder: Path) -> SegmentTask:
    """One segment that is the whole clip, without a mask video."""
    look = look_of(format_of(output_type), MediaSettings())
    spec = EncodeSpec(
        output_type,
        "high",
        "balanced",
        info.width,
        info.height,
        info.time_base,
        info.average_rate,
        None,
        MediaSettings().encoder_threads,
        alpha=look.alpha,
    )
    return SegmentTask(
        source=source,
        info=info,
        segment=Segment(0),
        size=(256, 256),
        refine_foreground=True,
        backdrop=look.backdrop,
        premultiplied=look.premultiplied,
        encode=spec,
        folder=folder,
        kinds=("video",),
        decode_timeout_s=60,
    )


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of a block."""
    started = time.perf_counter()
    yield
    into[name] = into.get(name, 0.0) + time.perf_counter() - started


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def alone(task: SegmentTask, engine: Engine) -> dict[str, float]:
    """Seconds of each stage by itself, everything before it done and waiting in memory."""
    seconds: dict[str, float] = {}
    streams = DeviceStreams(engine.device)
    count = 0
    with timed(seconds, "decode"), FrameReader(task.source) as reader:
        for frame in reader:
            count += 1
            frame.release()
    # Frames go through the later stages in small groups: a whole clip of pictures does not fit into memory.
    with (
        FrameReader(task.source) as reader,
        open_part(task.part("video"), task.encode, "video") as writer,
        Finishing(task, streams) as finishing,
    ):
        group: list[tuple[Batch, int, int]] = []

        def through() -> None:
            with timed(seconds, "matte"):
                for batch, _, _ in group:
                    batch.begun = streams.moment()
                    batch.mattes = _matte(batch, engine, task)
                    batch.ready = streams.moment()
            with timed(seconds, "foreground"):
                images = [made.images["video"].numpy()[0] for made in finishing.of(batch for batch, _, _ in group)]
            with timed(seconds, "encode"):
                for image, (_, pts, duration) in zip(images, group, strict=True):
                    writer.write(image, pts, duration)
            group.clear()

        for frame in reader:
            levels = torch.from_numpy(frame.image).clone()[None]
            batch = Batch(levels, [(frame.pts, frame.duration)], streams.moment())
            group.append((batch, frame.pts, frame.duration))
            frame.release()
            if len(group) == 8:
                through()
        through()
        started = time.perf_counter()
    seconds["encode"] += time.perf_counter() - started
    return seconds


def measure(task: SegmentTask, engine: Engine) -> tuple[float, float]:
    """Seconds of the pipeline, by the wall and of all processors."""
    before, started = processor_seconds(), time.perf_counter()
    process_segment(task, engine)
    return time.perf_counter() - started, processor_seconds() - before


def in_a_thread(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """As in the pipeline, where stages beside the network have one thread."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, initializer=compute_alone) as pool:
        return pool.submit(work).result()


def main() -> None:
    """Print a row per output type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--types", nargs="+", choices=OUTPUT_SHORT_NAMES, default=list(OUTPUT_SHORT_NAMES))
    options = parser.parse_args()
    keep_freed_memory()
    cores = len(os.sched_getaffinity(0))
    print(f"{options.width}x{options.height}, {options.frames} frames, {cores} cores\n")
    print("| type | decode | matte | foreground | encode | CPU/cores | pipeline | frames/s | over the least |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(folder / "clip.mp4", options.frames, options.width, options.height)
        info = probe(folder / "clip.mp4", timeout_s=60)
        assert info.time_base > Fraction(0)
        with FreeEngine() as engine:
            measure(task_of(folder / "clip.mp4", info, OUTPUT_SHORT_NAMES["x264"], folder), engine)
            for short in options.types:
                task = task_of(folder / "clip.mp4", info, OUTPUT_SHORT_NAMES[short], folder)
                stages = in_a_thread(lambda task=task: alone(task, engine))
                wall, spent = measure(task, engine)
                least = max(*stages.values(), spent / cores)
                cells = [f"{stages[stage]:.2f}" for stage in ("decode", "matte", "foreground", "encode")]
                cells += [f"{spent / cores:.2f}", f"{wall:.2f}", f"{options.frames / wall:.1f}", f"{wall / least:.2f}"]
                print(f"| {short} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
