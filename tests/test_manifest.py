"""Manifests of every kind, checked whole, with the place of each bad entry."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from birefnet_batch.errors import ManifestError
from birefnet_batch.manifest import Manifest, invalid_entries, load_manifest
from birefnet_batch.manifest_entries import InvalidEntry

BAD = {
    "videos.yaml": ("- a.mp4\n- {video_url: b.mp4, model: cat}\n- 3\n", ["entry 2 (line 2)", "entry 3 (line 3)"]),
    "videos.json": ('["a.mp4", {"video_url": "b.mp4", "model": "cat"}, 3]', ["entry 2", "entry 3"]),
    "videos.jsonl": ('"a.mp4"\n{"video_url": "b.mp4", "model": "cat"}\n{oops\n', ["line 2", "line 3: it is no JSON"]),
    "videos.csv": ("video_url,model\na.mp4,light\nb.mp4,cat\nc.mp4,light,x\n", ["line 3", "line 4: it has more cells"]),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_entry_is_reported_with_its_place_and_the_good_ones_stay(name: str, tmp_path: Path) -> None:
    content, places = BAD[name]
    (tmp_path / name).write_text(content)
    manifest = load_manifest(str(tmp_path / name), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4"]
    assert len(manifest.problems) == 2
    for place, problem in zip(places, manifest.problems, strict=True):
        assert problem.startswith(f"{name}, {place}")
    assert "'cat' is not allowed; give one of" in manifest.problems[0]


def test_thousands_of_bad_entries_give_a_readable_error_and_a_file_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    entries = tuple(InvalidEntry(f"line {number}", ("bad", "worse")) for number in range(3000))
    error = invalid_entries("m.jsonl", Manifest((), entries, 0))
    assert "3000 bad entries" in str(error)
    assert "and 5950 more" in str(error)
    assert len(str(error).splitlines()) == 52
    (listed,) = tmp_path.iterdir()
    assert str(listed) in str(error)
    assert listed.read_text().splitlines()[-1] == "line 2999: worse"


def test_what_is_told_of_bad_entries_has_no_secrets_and_an_end(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    url = "http://me:very-secret@h/a.mp4?token=very-secret"
    bad = [
        *({"video_url": url, "model": url}, {"video_url": [url]}, {f"data:video/mp4;base64,{'very+secret' * 1000}": 1}),
        *({"video_url": "a.mp4", "model": "data:video/mp4,%00very-secret"}, {url * 1000: 1, url: 2}),
        {f"field-{number}": 1 for number in range(1000)},
    ]
    path.write_text(json.dumps(bad))
    manifest = load_manifest(str(path), {})
    assert len(manifest.invalid) == len(bad)
    for text in (str(manifest.invalid), str(invalid_entries("v.json", manifest))):
        assert "very-secret" not in text
        assert "very+secret" not in text
    assert max(len(reason) for entry in manifest.invalid for reason in entry.reasons) <= 1000
    assert max(len(entry.reasons) for entry in manifest.invalid) <= 51
    assert manifest.invalid[-1].reasons[-1] == "and 951 more"


def test_one_bad_entry_is_one_whatever_is_wrong_with_it() -> None:
    error = invalid_entries("m.jsonl", Manifest((), (InvalidEntry("line 1", ("bad", "worse")),), 0))
    assert "has 1 bad entry:" in str(error)


@pytest.mark.parametrize("name", ["videos.yaml", "videos.json", "videos.jsonl"])
def test_bad_defaults_are_reported_once_and_stop_every_entry(name: str, tmp_path: Path) -> None:
    bad = {"modle": "light", "video_quality": "best"}
    lines = [json.dumps({"defaults": bad}), *map(json.dumps, ("a.mp4", {"video_url": "b.mp4", "model": "cat"}))]
    whole = json.dumps({"defaults": bad, "videos": ["a.mp4", {"video_url": "b.mp4", "model": "cat"}]})
    (tmp_path / name).write_text("\n".join(lines) if name.endswith(".jsonl") else whole)
    manifest = load_manifest(str(tmp_path / name), {})
    assert not manifest.requests
    assert len(manifest.invalid) == 2
    assert manifest.invalid[0].place == f"{name}, defaults"
    assert "'modle' is no field" in manifest.problems[0]
    assert "video_quality: 'best' is not allowed" in manifest.problems[1]


def test_a_url_is_no_manifest_and_its_secrets_stay_unsaid() -> None:
    with pytest.raises(ManifestError, match=r"http://host/m.yaml cannot be read.*\n.*it is a URL") as error:
        load_manifest("http://user:s3cr3t@host/m.yaml?token=SIG", {})
    assert "s3cr3t" not in str(error.value)
    assert "SIG" not in str(error.value)


def test_duplicates_run_once_however_they_are_spelt(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text("- a.mp4\n- ./x/../a.mp4\n- {video_url: a.mp4, model: light}\n- {video_url: a.mp4, model: heavy}\n")
    manifest = load_manifest(str(path), {})
    assert len(manifest.requests) == 2
    assert manifest.duplicates == 2


def test_a_url_that_cannot_be_read_is_one_bad_entry_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(
        '- a.mp4\n- "http://[::1/x.mp4"\n- "http://ex\u2100mple.com/x.mp4"\n- "file://[::1/x.mp4"\n- b.mp4\n'
    )
    manifest = load_manifest(str(path), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4", "b.mp4"]
    assert [entry.place for entry in manifest.invalid] == [f"v.yaml, entry {n} (line {n})" for n in (2, 3, 4)]


def test_half_a_character_is_one_bad_entry(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('"a.mp4"\n"\\ud800.mp4"\n{"video_url": "https://h/\\udfff.mp4"}\n')
    manifest = load_manifest(str(path), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4"]
    assert [entry.place for entry in manifest.invalid] == ["v.jsonl, line 2", "v.jsonl, line 3"]
    for problem in manifest.problems:
        assert "holds half of a character (a surrogate), which no path or URL has" in problem
        problem.encode()


def test_urls_that_differ_in_secrets_alone_are_bad_entries_and_are_not_dropped_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    urls = [
        *("https://h/a.mp4?token=ONE", "https://h/a.mp4?token=TWO", "https://h/a.mp4?token=ONE"),
        *("https://h/b.mp4?key=ONE", "https://h/b.mp4?key=TWO", "https://me:ONE@h/c.mp4", "https://me:TWO@h/c.mp4"),
    ]
    entries = [*urls, {"video_url": "https://h/a.mp4?token=TWO", "model": "heavy"}]
    path.write_text(json.dumps(entries))
    manifest = load_manifest(str(path), {})
    assert [request.video_url for request in manifest.requests] == [
        *(urls[0], urls[3], urls[4], urls[5], "https://h/a.mp4?token=TWO")
    ]
    assert manifest.duplicates == 1
    assert [entry.place for entry in manifest.invalid] == ["v.yaml, entry 2 (line 1)", "v.yaml, entry 7 (line 1)"]
    assert "https://h/a.mp4 differs from the URL of v.yaml, entry 1 (line 1) in nothing but" in manifest.problems[0]
    assert "give each video another URL, or leave one of them out" in manifest.problems[0]
    assert "TWO" not in str(manifest.problems)


def test_entries_like_an_earlier_one_are_judged_as_if_they_were_the_first(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    entries: list[Any] = [{"video_url": "a.mp4", "output_mask": True}, {"video_url": "b.mp4", "output_mask": True}]
    wrong: list[Any] = [
        {"video_url": "c.mp4", "output_mask": 1},
        {"video_url": " ", "output_mask": True},
        {"video_url": 7, "output_mask": True},
        {"output_mask": True},
        {"video_url": "d.mp4", "output_mask": [True]},
    ]
    path.write_text(json.dumps(entries + wrong))
    manifest = load_manifest(str(path), {})
    asked = [(Path(request.video_url).name, request.output_mask) for request in manifest.requests]
    assert asked == [("a.mp4", True), ("b.mp4", True)]
    assert [problem.split(": ", 1)[1] for problem in manifest.problems] == [
        "output_mask: 1 is not allowed; give true or false",
        "video_url: ' ' is not allowed; give a path or a URL",
        "video_url: 7 is not allowed; give a path or a URL",
        "video_url: it is required; give a path or a URL",
        "output_mask: [True] is not allowed; give true or false",
    ]


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_read_and_checked_in_time(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for number in range(100_000):
            file.write(json.dumps({"video_url": f"videos/{number}.mp4", "model": "portrait"}) + "\n")
    started = time.process_time()
    manifest = load_manifest(str(path), {})
    assert len(manifest.requests) == 100_000
    # Processor time: 10 s is what a user may wait, and other tests may hold the machine.
    assert time.process_time() - started < 10
