"""A disk that is full costs the videos that do not fit one clear error each, and leaves no part of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clips import make_noise

from birefnet_batch.errors import OutputError
from birefnet_batch.storage.live_lines import LiveLines
from birefnet_batch.storage.output import Output

# In a mount namespace of its own, so that nothing is left mounted whatever happens.
_RUNS = """
import json, os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from trivial import TrivialEngine
from birefnet_batch import Request, Settings, engines, run
from birefnet_batch.progress import Progress

class Quiet(Progress):
    def show_frames(self): ...
    def show_ended(self, line): ...

engines.open_engine = lambda name, **spec: TrivialEngine(spec["width"], spec["height"])
folder = Path(sys.argv[1])
out = folder / "out"
settings = Settings(output=str(out))
fields = {"model": "demo", "operating_resolution": 256, "refine_foreground": False}
fields = {**fields, "video_quality": "maximum", "video_write_mode": "fast"}
requests = [Request.from_dict({"video_url": str(folder / name), **fields}) for name in ("large.mp4", "small.mp4")]
for options in ("size=256k", "remount,size=20m"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(out)], check=True)
    outcomes = []
    run(settings, requests, progress=Quiet(2, open(os.devnull, "w")), on_outcome=outcomes.append)
    files = sorted(path.name for path in (out / "jobs").rglob("*") if path.is_file())
    left = [str(path) for path in (out / ".scratch").rglob("*")] if (out / ".scratch").exists() else []
    print(json.dumps([{o.job.stem: [o.status, o.error] for o in outcomes}, files, left]))
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


def test_what_does_not_fit_fails_the_rest_goes_on_and_with_room_it_is_made(tmp_path: Path):
    if not can_mount():
        pytest.skip("needs a mount namespace: unshare -rm")
    make_noise(tmp_path / "large.mp4", 24)
    make_noise(tmp_path / "small.mp4", 1)
    (tmp_path / "out").mkdir()
    words = ["unshare", "-rm", sys.executable, "-c", _RUNS, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (first, files, left), (second, after, _) = map(json.loads, done.stdout.splitlines())
    assert first["small"] == ["succeeded", None]
    status, error = first["large"]
    assert status == "failed"
    assert "cannot be written: no space left on device" in error
    assert "\n" not in error
    assert [name for name in files if "large" in name or ".part" in name] == []
    assert left == []
    assert second == {"large": ["succeeded", None], "small": ["skipped", None]}
    assert "large.mp4" in after


_LINES = """
import resource, sys
from pathlib import Path
from birefnet_batch.storage.live_lines import LiveLines
from birefnet_batch.storage.output import Output

with Output(sys.argv[1], "run") as output:
    lines = LiveLines(output, "lines.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    for number in range(100):
        lines.append(f"{number} " + "x" * 200)
    lines.append("long " + "x" * 20_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines.append("after")
    lines.close()
"""


def test_no_line_of_many_is_lost_while_there_is_no_room(tmp_path: Path):
    # A limit of a file's size, which a process can lift again, stands for the disk.
    subprocess.run([sys.executable, "-c", _LINES, str(tmp_path)], check=True)
    lines = (tmp_path / "lines.jsonl").read_text().splitlines()
    assert [line.partition(" ")[0] for line in lines] == [*map(str, range(100)), "long", "after"]


def test_lines_wait_for_room_and_their_loss_is_an_error_of_the_end(tmp_path: Path):
    with Output(str(tmp_path), "run") as output:
        (tmp_path / "lines.jsonl").symlink_to("/dev/full")
        lines = LiveLines(output, "lines.jsonl")
        lines.append("one")
        lines.append("two")
        with pytest.raises(OutputError, match="lines.jsonl cannot be written: no space left on device"):
            lines.close()
