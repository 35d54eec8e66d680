"""Feed hostile files to the decoder's process and to whole runs, and count how each ends.

    .venv/bin/python scripts/fuzz_inputs.py [--flips 1000] [--whole 40] [--seed 0] [--timeout 20]

Small clips of eight kinds, cut at every kilobyte and with bits flipped; empty files, headers alone, sound alone, still
and huge pictures, durations and stream counts that lie, playlists that name other files and hosts. Each is decoded to
its end in a process of its own (a fork, which is the decoder's process without the start of Python); all special ones
and a sample of the others also go through one run with a small network, with decoders as in use. An input ends well in
a result, in one clear error, or in a decoder that was lost and replaced; the program ends with status 1 if one hangs,
crashes what decodes it for, uses more memory than it may, opens anything else, is lost from the run, or leaves a
partial file.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fuzzing.forked import fork_decoders, start_decoders
from fuzzing.inputs import Case, flipped, originals, special, truncated

from birefnet_batch import Request, Settings, run
from birefnet_batch.errors import BirefnetBatchError, DecoderCrashError
from birefnet_batch.executors.base import JobOutcome
from birefnet_batch.models import registry
from birefnet_batch.progress import Progress
from birefnet_batch.settings import EngineSettings, MediaSettings
from birefnet_batch.video.reader import FrameReader

DEMO = Path(registry.__file__).parent / "demo" / "demo.safetensors"
# What a process has besides its allocations: code of libraries, and the frames that it shares.
_BESIDES = 512 * 2**20
GOOD = ("result", "one clear error", "decoder replaced")


@dataclass(frozen=True)
class Ended:
    """How one input ended."""

    kind: str
    name: str
    how: str
    text: str
    seconds: float


class Quiet(Progress):
    """Shows nothing."""

    def show_frames(self) -> None: ...

    def show_ended(self, line: str) -> None: ...


def decoded(kind: str, path: Path, timeout_s: float, memory: int) -> Ended:
    """Decode a file to its end as the pipeline does."""
    started = time.monotonic()
    frames = 0
    try:
        with FrameReader(path, timeout_s=timeout_s, memory_bytes=memory) as reader:
            for frame in reader:
                frames += 1
                frame.release()
        how, text = "result", f"{frames} frames"
    except DecoderCrashError as error:
        how, text = "decoder replaced", str(error)
    except BirefnetBatchError as error:
        text = str(error)
        how = "one clear error" if _is_clear(text, path) else "UNCLEAR ERROR"
    except BaseException as error:
        how, text = "CRASH", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    if seconds > 2 * timeout_s:
        how = "HANG"
    return Ended(kind, path.name, how, text, seconds)


def whole_run(paths: list[tuple[str, Path]], folder: Path, timeout_s: float, memory: int) -> list[Ended]:
    """Put files through one run, as a batch of videos."""
    entry = {"network": "demo", "weights": str(DEMO), "native_resolution": "64x64"}
    settings = Settings(
        output=str(folder / "out"),
        models={"tiny": entry},
        media=MediaSettings(decode_timeout_s=timeout_s, decode_memory_bytes=memory),
        # On a busy machine a team of threads waits for its slowest at every layer of a network this small.
        engine=EngineSettings(threads=1),
    )
    kinds = {path.absolute().as_uri(): (kind, path) for kind, path in paths}
    requests = [
        Request.from_dict({"video_url": str(path), "model": "tiny", "video_write_mode": "fast"}, settings.catalogue)
        for _, path in paths
    ]
    outcomes: list[JobOutcome] = []
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        run(settings, requests, progress=Quiet(len(requests), nowhere), on_outcome=outcomes.append)
    ended = []
    for outcome in outcomes:
        kind, path = kinds.pop(outcome.job.display_uri)
        how, text = "result", f"{outcome.frames} frames"
        if outcome.status == "failed":
            text = outcome.error or ""
            known = isinstance(outcome.exception, BirefnetBatchError) and not text.startswith("unexpected")
            how = "one clear error" if known and _is_clear(text, path) else "UNCLEAR ERROR"
            if isinstance(outcome.exception, DecoderCrashError):
                how = "decoder replaced"
        media = {item.name for item in (folder / "out" / outcome.job.folder).glob("*") if item.suffix != ".json"}
        if outcome.status == "failed" and media:
            how, text = "PARTIAL FILE", ", ".join(media)
        ended.append(Ended(f"run: {kind}", path.name, how, text, outcome.seconds))
    ended += [Ended(f"run: {kind}", path.name, "LOST", "", 0.0) for kind, path in kinds.values()]
    return ended


def _is_clear(text: str, path: Path) -> bool:
    return "\n" not in text and path.name in text and "Traceback" not in text


def report(ended: list[Ended], connections: int, most: float, bound: int) -> bool:
    """Print the counts and everything that did not end well.

    Returns:
        Whether all is well.
    """
    kinds = dict.fromkeys(item.kind for item in ended)
    columns = [*GOOD, *sorted({item.how for item in ended} - set(GOOD))]
    print(f"{'':30}{'inputs':>8}" + "".join(f"{name:>18}" for name in columns) + f"{'slowest s':>12}")
    for kind in kinds:
        these = [item for item in ended if item.kind == kind]
        counts = Counter(item.how for item in these)
        slowest = max(item.seconds for item in these)
        print(f"{kind:30}{len(these):8}" + "".join(f"{counts[name]:18}" for name in columns) + f"{slowest:12.1f}")
    counts = Counter(item.how for item in ended)
    print(f"{'all':30}{len(ended):8}" + "".join(f"{counts[name]:18}" for name in columns))
    print(
        f"largest process: {most / 2**20:.0f} MiB, {bound / 2**20:.0f} MiB may be allocated; connections: {connections}"
    )
    wrong = [item for item in ended if item.how not in GOOD]
    for item in wrong:
        print(f"  {item.how}: {item.kind}: {item.name}: {item.text[:300]} ({item.seconds:.1f} s)")
    for item in ended:
        if item.how == "decoder replaced":
            print(f"  replaced: {item.kind}: {item.name}: {item.text[:200]}")
    return not wrong and not connections and most <= bound + _BESIDES


def main() -> None:
    """Try everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--flips", type=int, default=1000, help="files with flipped bits")
    parser.add_argument("--whole", type=int, default=40, help="truncated and flipped files that also go through a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds that one frame may take")
    parser.add_argument("--memory", type=int, default=1024**3, help="bytes that a decoding process may allocate")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, socket.socket() as canary:
        folder = Path(name)
        canary.bind(("127.0.0.1", 0))
        canary.listen()
        connections: list[object] = []
        threading.Thread(target=_watch, args=(canary, connections), daemon=True).start()
        (folder / "whole").mkdir()
        whole = originals(folder / "whole")
        print(f"originals: {', '.join(f'{key} {len(data)} bytes' for key, data in whole.items())}", flush=True)
        many = [*truncated(whole), *flipped(whole, asked.flips, asked.seed)]
        few = [("original", key, data) for key, data in whole.items()]
        few += special(whole, folder / "whole", canary.getsockname()[1])
        cases = [*few, *many]
        paths = [_written(folder, number, case) for number, case in enumerate(cases)]
        fork_decoders()
        ended: list[Ended] = []
        for kind, path in paths:
            ended.append(decoded(kind, path, asked.timeout, asked.memory))
            if len(ended) % 100 == 0:
                print(f"{len(ended)} of {len(paths)} decoded", flush=True)
        start_decoders()
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        right = report(ended, len(connections), most, asked.memory)
        step = max(1, len(many) // max(1, asked.whole))
        sample = [*paths[: len(few)], *(paths[len(few) :: step] if asked.whole else [])]
        print(f"{len(sample)} of them through one run", flush=True)
        ended = whole_run(sample, folder, asked.timeout, asked.memory)
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        right = report(ended, len(connections), most, asked.memory) and right
    sys.exit(0 if right else 1)


def _written(folder: Path, number: int, case: Case) -> tuple[str, Path]:
    kind, name, data = case
    path = folder / f"{number}" / name
    path.parent.mkdir()
    path.write_bytes(data)
    return kind, path


def _watch(canary: socket.socket, connections: list[object]) -> None:
    while True:
        try:
            connections.append(canary.accept())
        except OSError:
            return


if __name__ == "__main__":
    main()
