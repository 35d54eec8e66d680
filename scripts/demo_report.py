"""Show what the demo made: a contact sheet per clip, and how near its mattes come to the true ones.

    python scripts/demo_report.py OUTPUT

IoU: of the matte and the true alpha, both cut at one half, over all pixels of all frames. Steadiness: the mean
absolute difference, in [0, 1], between the matte's change and the true alpha's change from one frame to the next.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.contact_sheet import make_contact_sheets
from birefnet_batch.results import JobRecord
from birefnet_batch.uris import local_path
from birefnet_batch.video.reader import FrameReader


def read_matte(path: Path) -> NDArray[np.float32]:
    """All frames of a grey video, float32 (N, H, W) in [0, 1]."""
    frames = []
    with FrameReader(path) as reader:
        for frame in reader:
            frames.append(frame.image[..., 1].astype(np.float32) / 255)
            frame.release()
    return np.stack(frames)


def main() -> int:
    output = Path(sys.argv[1]).absolute()
    records = []
    for line in (output / "manifest.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["status"] == "succeeded":
            records.append(JobRecord.from_json((output / "jobs" / entry["job_id"] / "job.json").read_bytes()))
    if not records:
        print(f"error: {output} has no finished video", file=sys.stderr)
        return 1

    print(f"\n{'clip':24}{'frames':>8}{'frames/s':>10}{'IoU':>8}{'steadiness':>12}")
    for record in records:
        name = local_path(record.source.uri).stem
        frames = record.source.frames or 0
        row = f"{name:24}{frames:8}{frames / record.timings['total']:10.1f}"
        truth = demo_clips() / f"{name}.alpha.mkv"
        if truth.exists():
            matte, true = read_matte(output / record.outputs["mask_video"]), read_matte(truth)
            matte = matte[:, : true.shape[1], : true.shape[2]]
            union = np.count_nonzero((matte > 0.5) | (true > 0.5))
            iou = np.count_nonzero((matte > 0.5) & (true > 0.5)) / union if union else 1.0
            steps = zip(pairwise(matte), pairwise(true), strict=True)
            steadiness = np.mean([np.abs((b - a) - (d - c)).mean() for (a, b), (c, d) in steps])
            row += f"{iou:8.3f}{steadiness:12.4f}"
        print(row)

    sheets = make_contact_sheets(output)
    print(f"\nresults are in {output}")
    for record in records:
        print(f"  {output / record.outputs['video']}")
    print("look at these contact sheets (input, matte, cut-out on a checkerboard):")
    for sheet in sheets:
        print(f"  {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
