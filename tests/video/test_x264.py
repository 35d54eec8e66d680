"""H.264 bytes repeat in a program that keeps freed memory, whatever is in it."""

from __future__ import annotations

import subprocess
import sys

_ENCODE = """
import hashlib, tempfile
from fractions import Fraction
from pathlib import Path
import numpy as np
from birefnet_batch.process_tuning import keep_freed_memory
from birefnet_batch.video.encode import EncodeSpec, open_part

keep_freed_memory()
random = np.random.default_rng(0)
rows, columns = np.mgrid[:640, :360]
texture = random.integers(0, 60, (700, 420, 3), dtype=np.uint8)
frames = []
for number in range(12):
    frame = texture[2 * number :, 3 * number :][:640, :360].copy()
    frame[(rows - 300) ** 2 + (columns - 100 - 4 * number) ** 2 < 90**2] += 150
    frames.append(frame)
spec = EncodeSpec(output_type="X264 (.mp4)", quality="high", write_mode="balanced", width=360, height=640,
    time_base=Fraction(1, 25), average_rate=Fraction(25), sample_aspect_ratio=None, threads=4)
digests = set()
for attempt in range(4):
    path = Path(tempfile.mkdtemp()) / "part"
    with open_part(path, spec, "video") as writer:
        for number, frame in enumerate(frames):
            if number % 3 == 0:
                garbage = [random.integers(0, 256, int(size), dtype=np.uint8)
                    for size in random.integers(1000, 2_000_000, 80)]
                del garbage
            writer.write(frame, number, 1)
    digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
print(len(digests))
"""


def test_the_same_frames_give_the_same_bytes_whatever_freed_memory_holds() -> None:
    done = subprocess.run([sys.executable, "-c", _ENCODE], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1", "several encodings of one video"
