"""Identity and key of a job: the same work has the same names, other work has others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.jobs import Job, distinct_jobs, is_marker, job_key, marker
from birefnet_batch.models.registry import SHIPPED
from birefnet_batch.request import Request
from birefnet_batch.settings import Alpha, MediaSettings


def job(url: str = "clips/My Clip.mp4", **fields: Any) -> Job:
    return Job.from_request(Request(url, **fields), Path("/data"))


def key(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "job": job(),
        "fingerprint": "size=1;mtime_ns=2",
        "weights_sha256": "ab",
        "precision": "fp32",
        "media": MediaSettings(),
    }
    return job_key(**{**arguments, **changes})


def test_the_id_is_readable_and_the_same_for_the_same_video_and_request() -> None:
    assert job().job_id.startswith("my-clip-")
    assert job().job_id == job("/data/x/../clips/My Clip.mp4").job_id == job("file:///data/clips/My%20Clip.mp4").job_id
    assert job().folder == f"jobs/{job().job_id}"


def test_another_request_or_video_has_another_id() -> None:
    ids = {job().job_id, job("/x/My Clip.mp4").job_id, job(model="Portrait").job_id, job(output_mask=True).job_id}
    assert len(ids) == 4


def test_how_many_requests_repeat_others_is_said_and_refused_ones_are_none_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="birefnet_batch")
    asked = ["/a.mp4", "/x/../a.mp4", "http://[::1/x.mp4", "/b.mp4"]
    jobs, refused = distinct_jobs(map(Request, asked), SHIPPED)
    assert (len(jobs), len(refused)) == (2, 1)
    assert caplog.messages == ["left out as repetitions of others: 1 of 4 requests"]
    caplog.clear()
    distinct_jobs(map(Request, asked[1:]), SHIPPED)
    assert not caplog.messages


def test_credentials_and_signatures_are_not_part_of_the_id() -> None:
    first = job("https://me:one@h/a.mp4?id=1&X-Amz-Signature=one")
    assert first.job_id == job("https://h/a.mp4?id=1&X-Amz-Signature=two").job_id
    assert first.job_id != job("https://h/a.mp4?id=2&X-Amz-Signature=two").job_id
    assert "one" in first.uri
    assert "one" not in first.display_uri


def test_what_may_name_the_video_or_its_owner_is_part_of_the_id() -> None:
    first, second = (job(f"https://h/get.mp4?key={name}&token={name}") for name in ("anna", "ben"))
    assert first.job_id != second.job_id
    assert "anna" not in first.display_uri


def test_ids_of_urls_are_those_of_earlier_versions() -> None:
    known = {
        "https://h/a.mp4?id=1&X-Amz-Signature=one": "a-72cbfc563b33",
        "https://h/a.mp4?x=9fB2kLm0QrStUvWx7YzA&page=2": "a-c3b63694e670",
        "https://h/a;page=2/b.mp4?sv=1&sr=b&sig=s&name=x": "b-4bf99e658c7f",
        "s3://bucket/a?b#c.mp4": "a-b-c-d99559bf312b",
        "data:video/mp4;base64,AAAA": "video-b505bc3157db",
        "/x/a.mp4": "a-2570b53d7e83",
    }
    assert {url: job(url).job_id for url in known} == known


def test_whatever_decides_the_result_changes_the_key() -> None:
    keys = {
        key(),
        key(job=job(model="Portrait")),
        key(fingerprint="size=1;mtime_ns=3"),
        key(weights_sha256="cd"),
        key(precision="fp16"),
        *(
            key(media=replace(MediaSettings(), **change))
            for change in (
                {"background": "white"},
                {"background": "blur"},
                {"audio": False},
                {"encoder_threads": 8},
                {"segment_frames": 100},
            )
        ),
    }
    assert len(keys) == 10


def test_a_picture_behind_the_subject_counts_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a.png", b"one"), ("b.png", b"one"), ("c.png", b"two")):
        (tmp_path / name).write_bytes(content)
    one, copy, other = (key(media=MediaSettings(background=str(tmp_path / f"{name}.png"))) for name in "abc")
    assert one == copy != other


def test_alpha_counts_where_there_is_some() -> None:
    premultiplied = MediaSettings(alpha=Alpha.premultiplied)
    transparent = job(video_output_type="vp9")
    assert key(job=transparent, media=premultiplied) != key(job=transparent)


def test_what_decides_nothing_leaves_the_key() -> None:
    assert key(media=MediaSettings(decode_timeout_s=5)) == key()
    assert key(media=MediaSettings(alpha=Alpha.premultiplied)) == key()
    assert key(media=MediaSettings(background="black")) == key(media=MediaSettings(background="#000")) == key()


@pytest.mark.parametrize(
    "name", ["job.json", "result.json", "clip.mp4", "incomplete-1", "complete-foo.mp4", "complete-a_mask.mov"]
)
def test_only_markers_are_markers(name: str) -> None:
    assert is_marker(marker(key()))
    assert not is_marker(name)
