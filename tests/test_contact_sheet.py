"""Contact sheets: one per finished video, showing what the files hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import make_clip
from PIL import Image

from birefnet_batch import Request, Settings, contact_sheet, run
from birefnet_batch.contact_sheet import _on_checkerboard, _pick, _Picked, make_contact_sheets
from birefnet_batch.errors import ConfigError
from birefnet_batch.progress import PlainProgress
from birefnet_batch.results import JobRecord, SourceRecord
from birefnet_batch.video.reader import FrameReader


def test_a_sheet_shows_input_matte_and_cut_out_of_each_finished_video(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / name, frames=5) for name in ("a.mp4", "b.mp4")]
    output = tmp_path / "out"
    requests = [
        Request(str(clip), model="Demo", operating_resolution="256x256", output_mask=True, video_write_mode="fast")
        for clip in (*clips, tmp_path / "missing.mp4")
    ]
    with (tmp_path / "log").open("w") as log:
        run(replace(Settings(), output=str(output)), requests, progress=PlainProgress(3, log))
    # A line that a power cut damaged, and one whose record is gone.
    gone = '{"job_id": "gone", "input": "file:///g", "status": "succeeded", "result": null, "error": null}'
    with (output / "manifest.jsonl").open("a") as manifest:
        manifest.write(f"{gone}\n{{\n")
    sheets = make_contact_sheets(output, columns=3, tile_width=64)
    assert [sheet.name.split("-")[0] for sheet in sheets] == ["a", "b"]
    with Image.open(sheets[0]) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    # Orange disc in the top row of tiles, as in the clip.
    top = pixels[: pixels.shape[0] // 3].astype(int)
    assert ((top[..., 0] > 200) & (top[..., 2] < 110)).mean() > 0.01
    assert pixels.shape[1] > 3 * 64


def test_the_cut_out_stands_on_the_checkerboard_whatever_the_background_was() -> None:
    mask = np.zeros((32, 32, 1), np.uint8)
    mask[8:24, 8:24] = 255
    for colour in ((0, 0, 0), (10, 200, 30)):
        cut_out = np.where(mask > 0, np.uint8(77), np.array(colour, np.uint8))
        # A GIF says that it is opaque.
        for alpha in (None, np.full((32, 32), 255, np.uint8)):
            shown = _on_checkerboard(_Picked(cut_out, alpha), mask, {"background": ",".join(map(str, colour))})
            assert (shown[8:24, 8:24] == 77).all()
            assert set(np.unique(shown[:8])) == {200, 245}


@pytest.mark.parametrize("kind", ["straight", "premultiplied"])
def test_half_transparent_pixels_of_a_file_are_laid_over_the_checkerboard_once(tmp_path: Path, kind: str) -> None:
    opacity = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (32, 1, 1))
    colours = np.full((32, 64, 3), 120.0) * (opacity if kind == "premultiplied" else 1)
    path = tmp_path / "cut_out.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "rgba"
        pixels = np.rint(np.concatenate((colours, 255 * opacity), axis=2)).astype(np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode(None))
    mask = np.rint(255 * opacity).astype(np.uint8)
    shown = _on_checkerboard(_pick(path, [0])[0], mask, {"background": "none", "alpha": kind})
    rows, cols = np.ogrid[:32, :64]
    checker = np.where((rows // 8 + cols // 8) % 2, 200, 245)[..., None]
    wanted = 120 * opacity + (1 - opacity) * checker
    # Of dark pixels eight bits that were multiplied twice have little left.
    assert np.abs(shown - wanted)[:, 16:].max() <= 3
    assert np.abs(shown - wanted)[:, :16].max() <= 20


def test_over_a_picture_the_result_is_shown_as_it_is() -> None:
    cut_out = np.full((32, 32, 3), 50, np.uint8)
    mask = np.zeros((32, 32, 1), np.uint8)
    assert np.array_equal(_on_checkerboard(_Picked(cut_out, None), mask, {"background": "blur"}), cut_out)


def test_the_source_is_read_as_the_run_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Heard(FrameReader):
        def __init__(self, path: Path, **how: Any) -> None:
            asked.append(how)
            super().__init__(path, **how)

    monkeypatch.setattr(contact_sheet, "FrameReader", Heard)
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    bounds = {"timeout_s": 90.0, "memory_bytes": 6 * 1024**3}
    media = Settings().to_dict()["media"] | {
        "decode_timeout_s": bounds["timeout_s"],
        "decode_memory_bytes": bounds["memory_bytes"],
        "corrupt_frames": "drop",
        "deinterlace": "off",
        "background": "none",
        "alpha": "straight",
    }
    record = JobRecord(
        job_id="clip",
        status="succeeded",
        request={},
        source=SourceRecord(uri=clip.as_uri(), frames=3),
        outputs={"video": clip.name, "mask_video": clip.name},
        media=media,
    )
    contact_sheet._sheet(record, tmp_path, 2, 32)
    assert asked == [{**bounds, "corrupt": "drop", "deinterlace": "off"}, bounds, bounds]


def test_a_folder_that_is_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give the output folder of a run"):
        make_contact_sheets(tmp_path)
