"""Whole videos through the shipped model: media, records, and what is noted of them."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import jsonschema
import numpy as np
import pytest
from batch_runs import files_of, job_folder, request, run_all
from clips import make_clip, read_frames

from birefnet_batch import Request, Settings, process_video
from birefnet_batch.schemas import job_schema, result_schema
from birefnet_batch.settings import MediaSettings


def test_a_video_comes_out_with_its_frames_times_sound_and_records(tmp_path: Path, output: Path) -> None:
    clip = make_clip(tmp_path / "My clip.mp4", frames=7, audio=True)
    result = process_video(request(clip, output_mask=True), output=output)
    folder = job_folder(output, "my-clip")
    written = json.loads((folder / "result.json").read_text())
    assert written == result.to_dict()
    jsonschema.validate(written, result_schema())
    video, source = folder / "my-clip.mp4", read_frames(clip)
    assert result.video.url == video.as_uri()
    assert (result.video.num_frames, result.video.width, result.video.height) == (7, 128, 96)
    assert result.video.fps == pytest.approx(25)
    assert result.video.duration == pytest.approx(7 / 25)
    assert result.video.file_size == video.stat().st_size
    assert result.video.content_type == "video/mp4"
    made, mask = read_frames(video), read_frames(folder / "my-clip_mask.mp4")
    assert made.times == mask.times == source.times
    assert (made.audio_tracks, mask.audio_tracks) == (1, 0)

    record = json.loads((folder / "job.json").read_text())
    jsonschema.validate(record, job_schema())
    assert record["status"] == "succeeded"
    assert record["source"]["frames"] == 7
    assert len(record["source"]["sha256"]) == len(record["model"]["weights_sha256"]) == 64
    assert record["engine"]["precision"] == "fp32"
    assert record["outputs"]["mask_video"] == str((folder / "my-clip_mask.mp4").relative_to(output))
    assert {"decode", "matte", "foreground", "encode_video", "encode_mask", "total"} <= record["timings"].keys()
    assert (folder / f"complete-{record['key']}").exists()

    (line,) = map(json.loads, (output / "manifest.jsonl").read_text().splitlines())
    assert line == {
        "job_id": folder.name,
        "input": clip.as_uri(),
        "status": "succeeded",
        "result": f"jobs/{folder.name}/result.json",
        "error": None,
    }
    (run_folder,) = (output / "runs").iterdir()
    run_record = json.loads((run_folder / "run.json").read_text())
    assert run_record["status"] == "finished"
    assert run_record["counts"]["succeeded"] == 1
    assert not (output / ".scratch").exists()


def test_the_background_stands_where_the_matte_is_empty(clip: Path, output: Path) -> None:
    media = MediaSettings(background="#ff0000")
    run_all(output, request(clip, output_mask=True, video_quality="maximum"), media=media)
    folder = job_folder(output)
    made = read_frames(folder / "clip.mp4").images
    mask = read_frames(folder / "clip_mask.mp4").images[..., 0]
    empty = mask < 2
    assert empty.mean() > 0.02, "the clip should have background in it"
    # Chroma has half the resolution, so edges mix; the middle of what is empty does not.
    assert np.median(np.abs(made[empty].astype(int) - [255, 0, 0])) <= 6


@pytest.mark.usefixtures("trivial_engine")
def test_a_video_behind_a_url_is_fetched_and_named_without_its_secrets(clip: Path, output: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/clip.mp4?token=hunter2"
        first = process_video(Request(url, model="Demo", operating_resolution="256x256"), output=output)
        summary, _ = run_all(output, request(Path("x"), video_url=url))
        signed_again, _ = run_all(output, request(Path("x"), video_url=url + "3"))
        server.shutdown()
    assert first.video.num_frames == 7
    record = json.loads(next(output.glob("jobs/clip-*/job.json")).read_text())
    assert record["source"]["uri"] == url.partition("?")[0]
    assert record["source"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert summary.ok
    assert (signed_again.skipped, signed_again.ok) == (1, True)
    assert not [name for name in files_of(output) if "hunter2" in (output / name).read_text(errors="replace")]
    assert not (output / ".scratch").exists()


@pytest.mark.parametrize(
    ("output_type", "content_type", "suffix"),
    [("vp9", "video/webm", ".webm"), ("prores4444", "video/quicktime", ".mov"), ("gif", "image/gif", ".gif")],
)
def test_every_output_type_gives_a_video_and_a_mask_of_that_type(
    clip: Path, output: Path, output_type: str, content_type: str, suffix: str
) -> None:
    result = process_video(request(clip, video_output_type=output_type, output_mask=True), output=output)
    assert result.mask_video is not None
    for media in (result.video, result.mask_video):
        assert (media.content_type, Path(media.file_name).suffix) == (content_type, suffix)
        assert media.num_frames == 7
        assert media.duration == pytest.approx(7 / 25)
    record = json.loads((job_folder(output) / "job.json").read_text())
    assert (record["media"]["background"], record["media"]["alpha"]) == ("none", "straight")


def test_sync_mode_returns_the_media_and_keeps_none(clip: Path, output: Path) -> None:
    result = process_video(request(clip, sync_mode=True, output_mask=True), output=output)
    folder = job_folder(output)
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["complete", "job.json", "result.json"]
    head, _, body = result.video.url.partition(",")
    assert head == "data:video/mp4;base64"
    copy = folder.parent / "copy.mp4"
    copy.write_bytes(base64.b64decode(body))
    assert len(read_frames(copy).times) == 7
    assert json.loads((folder / "job.json").read_text())["outputs"] == {"result": f"jobs/{folder.name}/result.json"}
    assert "base64" not in (output / "manifest.jsonl").read_text()
    assert "no media file is kept" in json.loads((folder / "job.json").read_text())["notes"][-1]

    again = process_video(replace(request(clip), video_url=result.video.url), output=output)
    assert again.video.num_frames == 7
    assert body not in "".join(path.read_text(errors="replace") for path in output.glob("jobs/video-*/job.json"))
    assert body not in "".join(path.read_text(errors="replace") for path in output.glob("runs/*/*"))
    assert body not in (output / "manifest.jsonl").read_text()


def test_segments_join_to_the_frames_and_times_of_the_whole(tmp_path: Path, output: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=11, audio=True, keyframes=4)
    whole = process_video(request(clip), output=output / "whole")
    parts = process_video(
        request(clip), output=output / "parts", settings=Settings(media=MediaSettings(segment_frames=4))
    )
    one, many = (read_frames(job_folder(output / name) / "clip.mp4") for name in ("whole", "parts"))
    assert many.times == one.times
    assert many.audio_tracks == 1
    assert (parts.video.num_frames, parts.video.duration) == (whole.video.num_frames, whole.video.duration)
    assert json.loads((job_folder(output / "parts") / "job.json").read_text())["segments"] == 3


@pytest.mark.usefixtures("trivial_engine")
def test_a_file_that_says_that_it_is_longer_than_its_pictures_is_noted(tmp_path: Path, output: Path) -> None:
    path = tmp_path / "clip.flv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(16):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    process_video(request(path), output=output / "whole")
    # Such a file has no table and no end of its own that would be missing.
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    process_video(request(path), output=output / "cut")
    whole, cut = (json.loads((job_folder(output / name) / "job.json").read_text()) for name in ("whole", "cut"))
    assert whole["notes"] == []
    said = r"the file says that it lasts 4\.0 s, and its pictures end after [\d.]+ s: .*complete"
    # It also has fewer bytes than it says, which is a note of its own.
    assert len([note for note in cut["notes"] if re.fullmatch(said, note)]) == 1
