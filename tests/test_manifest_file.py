"""Manifest files of every format, and those that cannot be read."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest

from birefnet_batch.errors import ManifestError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.request import Request

CONTENT = {
    "videos.yaml": (
        "defaults:\n  model: portrait\nvideos:\n"
        "  - a.mp4\n  - {video_url: sub/b.mp4, output_mask: true}\n  - https://h/c.mp4\n"
    ),
    "videos.json": json.dumps(
        {
            "defaults": {"model": "portrait"},
            "videos": ["a.mp4", {"video_url": "sub/b.mp4", "output_mask": True}, "https://h/c.mp4"],
        }
    ),
    "videos.jsonl": '{"defaults": {"model": "portrait"}}\n"a.mp4"\n\n'
    '{"video_url": "sub/b.mp4", "output_mask": true}\n"https://h/c.mp4"\n',
    "videos.csv": "video_url,model,output_mask\na.mp4,portrait,\nsub/b.mp4,portrait,true\nhttps://h/c.mp4,portrait,\n",
}


@pytest.mark.parametrize("name", CONTENT)
def test_every_format_gives_the_same_requests(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(CONTENT[name])
    manifest = load_manifest(str(tmp_path / name), {"video_quality": "low"})
    assert not manifest.problems
    common = {"model": "portrait", "video_quality": "low"}
    assert manifest.requests == (
        Request.from_dict({"video_url": f"file://{tmp_path}/a.mp4", **common}),
        Request.from_dict({"video_url": f"file://{tmp_path}/sub/b.mp4", "output_mask": True, **common}),
        Request.from_dict({"video_url": "https://h/c.mp4", **common}),
    )


def test_a_line_that_is_cut_off_is_named_with_its_own_column(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text('{"video_url": "a.mp4"\n"b.mp4"\n')
    (problem,) = load_manifest(str(tmp_path / "v.jsonl"), {}).problems
    assert problem.startswith("v.jsonl, line 1: it is no JSON")
    assert problem.endswith("at column 22")


def test_a_line_that_no_reader_takes_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(f'"a.mp4"\n{"[" * 100_000}\n{"1" * 5000}\n"b.mp4"\n')
    manifest = load_manifest(str(tmp_path / "v.jsonl"), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4", "b.mp4"]
    assert [entry.place for entry in manifest.invalid] == ["v.jsonl, line 2", "v.jsonl, line 3"]


def test_a_csv_file_takes_data_uris_of_any_length(tmp_path: Path) -> None:
    uri = f"data:video/mp4;base64,{'A' * 300_000}"
    (tmp_path / "v.csv").write_text(f'video_url,model\n"{uri}",light\n')
    limit = csv.field_size_limit()
    (request,) = load_manifest(str(tmp_path / "v.csv"), {}).requests
    assert request.video_url == uri
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.yaml", None, "does not exist"),
        ("clip.mp4", "", "request.video_url="),
        ("h_%04d.png", None, r"numbered images are one video as request\.video_url=/\S*/h_%04d\.png"),
        ("empty.yaml", "", "has no entries"),
        ("bad.yaml", "a: [", "cannot be read"),
        ("keys.yaml", "vidoes: [a.mp4]", "vidoes; the keys are defaults"),
        ("bad.json", "[", "cannot be read"),
        ("scalar.json", "3", "must be a list"),
        ("deep.json", "[" * 100_000, "recursion"),
        ("number.json", f'["a.mp4", {"1" * 5000}]', "digits"),
        ("date.yaml", "- 2024-02-31", "out of range"),
        ("bool.yaml", "- !!bool maybe", "does not fit its tag"),
        ("int.yaml", '- !!int ""', "does not fit its tag"),
        ("time.yaml", "videos: [{video_url: !!timestamp x}]", "does not fit its tag"),
        ("head.csv", "url\na.mp4\n", "video_url among them"),
        ("head.csv", "url;video_url_of_mine\na.mp4;b\n", "video_url among them"),
        ("excel.csv", "\ufeffvideo_url;model\r\na.mp4;light\r\n", "separated by ';'; write it with commas"),
        ("excel.csv", "model;video_url\r\nlight;a.mp4\r\n", "separated by ';'; write it with commas"),
        ("office.csv", '"video_url";"model"\n"a.mp4";"light"\n', "separated by ';'; write it with commas"),
        ("tabs.csv", "video_url\tmodel\na.mp4\tlight\n", "separated by a tab; write it with commas"),
        ("twice.yaml", "videos: [a.mp4]\nvideos: [b.mp4, c.mp4]\n", "videos twice"),
        ("twice.json", '{"videos": ["a.mp4"], "videos": ["b.mp4"]}', "videos twice"),
        ("defaults.yaml", "defaults: {model: light, model: heavy}\nvideos: [a.mp4]\n", "model twice"),
        ("defaults.json", '{"defaults": {"model": "a", "model": "b"}, "videos": ["a.mp4"]}', "model twice"),
        ("twice.csv", "video_url,model,video_url\na.mp4,light,b.mp4\n", "first line: it has video_url twice"),
        (f"{'n' * 300}.yaml", None, "too long"),
        ("*.nothing", None, "matches no file"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_why(name: str, content: str | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError, match=reason):
        load_manifest(str(tmp_path / name), {})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "v.jsonl",
            '{"defaults": {"model": "a", "model": "b"}}\n"a.mp4"\n',
            "line 1 has defaults, and it has model twice",
        ),
        ("v.jsonl", '{"defaults": {"model": "light"}\n"a.mp4"\n', "line 1 has defaults, and it is no JSON"),
        (
            "v.jsonl",
            '{"defaults": {"model": "light"}, "x": 1}\n"a.mp4"\n',
            "line 1 has defaults; they are the first line",
        ),
        ("v.jsonl", '"a.mp4"\n{"defaults": {"model": "light"}}\n', "line 2 has defaults; they are the first line"),
        ("v.jsonl", '{"defaults": {}}\n{"defaults": {"model": "light"}}\n"a.mp4"\n', "line 2 has defaults"),
        ("v.yaml", "- defaults: {model: light}\n- a.mp4\n", "entry 1 has defaults; give them once, beside videos"),
        ("v.json", '["a.mp4", {"defaults": {"model": "light"}}]', "entry 2 has defaults"),
    ],
)
def test_defaults_that_cannot_be_read_are_no_bad_entry_without_which_the_others_run(
    name: str, content: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError, match=reason):
        load_manifest(str(tmp_path / name), {})


def test_a_pipe_is_not_said_to_be_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ManifestError, match="it is a pipe or a device; write it to a file"):
        load_manifest(str(tmp_path / "pipe"), {})


TWICE = {
    "v.yaml": "- a.mp4\n- video_url: b.mp4\n  model: light\n  video_url: c.mp4\n- d.mp4\n",
    "under.yaml": "videos:\n- a.mp4\n- video_url: b.mp4\n  model: light\n  video_url: c.mp4\n- d.mp4\n",
    "v.json": '["a.mp4", {"video_url": "b.mp4", "video_url": "c.mp4"}, "d.mp4"]',
    "under.json": '{"videos": ["a.mp4", {"video_url": "b.mp4", "video_url": "c.mp4"}, "d.mp4"]}',
    "v.jsonl": '"a.mp4"\n{"video_url": "b.mp4", "video_url": "c.mp4"}\n"d.mp4"\n',
}


@pytest.mark.parametrize("name", TWICE)
def test_an_entry_that_has_a_field_twice_is_a_bad_one_and_neither_video_is_dropped_in_silence(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(TWICE[name])
    manifest = load_manifest(str(tmp_path / name), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4", "d.mp4"]
    (problem,) = manifest.problems
    assert re.match(rf"{name}, (entry|line) 2.*: it has video_url twice; give each name once, and each video", problem)


def test_an_entry_of_yaml_may_override_what_it_takes_from_another(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("- &one {video_url: a.mp4, output_mask: true}\n- {<<: *one, video_url: b.mp4}\n")
    manifest = load_manifest(str(tmp_path / "v.yaml"), {})
    asked = [(Path(request.video_url).name, request.output_mask) for request in manifest.requests]
    assert asked == [("a.mp4", True), ("b.mp4", True)]


def test_columns_without_a_name_are_no_column_twice(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("video_url,model,,\na.mp4,light,,\n")
    assert len(load_manifest(str(tmp_path / "v.csv"), {}).requests) == 1
