"""Manifest files in buckets: read like those on a disk, their relative paths beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import Cloud

from birefnet_batch.errors import InputError, ManifestError
from birefnet_batch.manifest import Manifest, load_manifest
from birefnet_batch.manifest_bucket import is_file_in_bucket, uri_in_bucket
from birefnet_batch.storage.stores import open_store

Read = Callable[[str, str], Manifest]


@pytest.fixture
def read(s3: Cloud) -> Read:
    """Puts a manifest into a bucket and reads it there."""

    def put_and_read(name: str, content: str) -> Manifest:
        open_store(f"{s3.root}/lists", s3.settings()).put(name, content.encode())
        return load_manifest(f"{s3.root}/lists/{name}", {}, storage=s3.settings())

    return put_and_read


@pytest.mark.parametrize("name", ["v.json", "v.jsonl", "v.csv", "v.yaml"])
def test_a_manifest_file_in_a_bucket_names_videos_beside_it_and_elsewhere(read: Read, name: str) -> None:
    urls = ["a b?.mp4", "./x/../c.mp4", "../raw/d.mp4", "https://h/e.mp4", "/mnt/f.mp4"]
    lines = {"v.jsonl": map(json.dumps, urls), "v.csv": ["video_url", *urls]}
    manifest = read(name, "\n".join(lines[name]) if name in lines else json.dumps(urls))
    assert [request.video_url for request in manifest.requests] == [
        *("s3://bucket/lists/a b?.mp4", "s3://bucket/lists/c.mp4", "s3://bucket/raw/d.mp4"),
        *("https://h/e.mp4", "file:///mnt/f.mp4"),
    ]


def test_what_is_wrong_in_it_is_told_as_of_one_on_a_disk(read: Read, s3: Cloud) -> None:
    manifest = read("v.yaml", "defaults: {modle: light}\nvideos: [a.mp4, ../../b.mp4, 3]")
    assert [entry.place for entry in manifest.invalid] == [
        "v.yaml, defaults",
        "v.yaml, entry 2 (line 2)",
        "v.yaml, entry 3 (line 2)",
    ]
    assert "../../b.mp4 is no path in the manifest's bucket" in manifest.problems[1]
    with pytest.raises(
        ManifestError, match=r"The manifest s3://bucket/lists/v.csv cannot be read:\n.*video_url among them"
    ):
        read("v.csv", "url\na.mp4\n")
    with pytest.raises(InputError, match="s3://bucket/lists/none.json cannot be read: nothing is there"):
        load_manifest(f"{s3.root}/lists/none.json", {}, storage=s3.settings())
    with pytest.raises(InputError, match="s3:// is not among storage.allow_schemes"):
        load_manifest(f"{s3.root}/lists/v.csv", {}, storage=s3.settings(allow_schemes=["https"]))


@pytest.mark.parametrize("location", ["s3://b/raw", "s3://b/*.json", "s3://b/v.json/", "s3://b/a.mp4", "s3://json"])
def test_a_folder_or_a_pattern_of_a_bucket_is_no_manifest_file(location: str) -> None:
    assert not is_file_in_bucket(location)


def test_a_manifest_file_may_have_brackets_in_its_name() -> None:
    assert is_file_in_bucket("s3://b/clips [v2].csv")


def test_a_mistyped_url_is_no_path_below_a_bucket() -> None:
    with pytest.raises(InputError, match="is neither a URL nor a path"):
        uri_in_bucket("https//me:very-secret@h/x.mp4", "s3://bucket/lists")
    assert uri_in_bucket("~/a.mp4", "s3://bucket") == (Path.home() / "a.mp4").as_uri()
    assert uri_in_bucket("a.mp4", "s3://bucket") == "s3://bucket/a.mp4"
