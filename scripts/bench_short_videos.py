"""What a short video takes, with its processes started before they are needed and without; rounds alternate.

.venv/bin/python scripts/bench_short_videos.py [--videos 12] [--frames 10] [--rounds 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import av

from birefnet_batch import Request, Settings, run
from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.executors import worker
from birefnet_batch.process_tuning import keep_freed_memory
from birefnet_batch.progress import PlainProgress
from birefnet_batch.settings import EngineSettings, MediaSettings
from birefnet_batch.video.child_process import ChildProcess, Spares


class NoSpares(Spares):
    """Every process is started when it is needed."""

    def take(self, module: str, memory_bytes: int) -> ChildProcess | None:
        """None."""
        return None


def shortened(path: Path, frames: int) -> Path:
    """The first frames of a demo clip."""
    source = min(demo_clips().glob("*.mp4"))
    with av.open(str(source)) as container, av.open(str(path), "w") as made:
        original = container.streams.video[0]
        stream = made.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = original.width, original.height, "yuv420p"
        for _, picture in zip(range(frames), container.decode(original), strict=False):
            picture.pts = None
            made.mux(stream.encode(picture))
        made.mux(stream.encode(None))
    return path


def seconds_each(output: Path, clips: list[Path]) -> float:
    """Seconds from one video's end to the next one's: start-up is not in it."""
    settings = Settings(output=str(output), engine=EngineSettings(threads=1), media=MediaSettings(encoder_threads=1))
    asked = [
        Request.from_dict({"video_url": str(clip), "model": "demo", "operating_resolution": 256}) for clip in clips
    ]
    ends: list[float] = []
    with Path(os.devnull).open("w") as nowhere:
        run(
            settings,
            asked,
            progress=PlainProgress(len(clips), nowhere),
            on_outcome=lambda _: ends.append(time.perf_counter()),
        )
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def main() -> None:
    """Run the rounds and print the two and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    keep_freed_memory()
    found: dict[type[Spares], list[float]] = {NoSpares: [], Spares: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = shortened(folder / "clip.mp4", asked.frames)
        clips = [folder / f"{number:03d}.mp4" for number in range(asked.videos)]
        for copy in clips:
            copy.hardlink_to(clip)
        for number in range(asked.rounds):
            for kind, seconds in found.items():
                worker.Spares = kind  # type: ignore[misc]
                seconds.append(seconds_each(folder / f"{number}-{kind.__name__}", clips))
    without, ready = (statistics.median(seconds) for seconds in found.values())
    print(
        f"a video of {asked.frames} frames takes {without:.2f} s, with its processes started before {ready:.2f} s: "
        f"{ready / without:.2f} of it"
    )


if __name__ == "__main__":
    main()
