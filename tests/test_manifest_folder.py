"""Videos of folders and patterns, and what of them is the run's own output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from birefnet_batch.errors import InputError, ManifestError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.manifest_folder import VIDEO_SUFFIXES


def test_a_folder_gives_its_videos_in_depth_but_not_the_output(tmp_path: Path) -> None:
    for name in ("b.mp4", "deep/A.MOV", "notes.txt", ".hidden/c.mp4", "out/jobs/x/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    manifest = load_manifest(str(tmp_path), {}, exclude=tmp_path / "out")
    assert [Path(request.video_url).name for request in manifest.requests] == ["b.mp4", "A.MOV"]


def test_files_that_are_no_videos_by_their_names_are_counted_in_the_log_and_the_list_of_suffixes_is_documented(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.mp4", "b.vob", "c.VOB", "README", ".hidden"):
        (tmp_path / name).touch()
    with caplog.at_level("INFO", "birefnet_batch"):
        assert len(load_manifest(str(tmp_path), {}).requests) == 1
    assert f"left out in {tmp_path}: 3 other files (2 of .vob, 1 of no suffix); if some are videos" in caplog.text
    documented = (Path(__file__).parent.parent / "docs" / "storage.md").read_text().split("how many others")[0]
    assert all(f"`{suffix}`" in documented for suffix in VIDEO_SUFFIXES)


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("in", "file://{root}/in/out"),
        ("in", "./in/../in/out"),
        ("in", "{root}/in/x/../out"),
        ("in", "link/out"),
        ("link", "in/out"),
        ("link", "{root}/in/out/"),
        ("in/**/*.mp4", "link/out"),
        ("link/**/*.mp4", "file://{root}/in/out"),
    ],
)
def test_a_runs_own_results_are_no_inputs_however_its_output_is_spelt(
    inputs: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "x/b.mp4", "out/jobs/a-1/a.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "link").symlink_to("in")
    manifest = load_manifest(inputs, {}, exclude=output.format(root=tmp_path))
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ("in", ["a.mp4", "jobs/d.mp4", "mon/c.mp4"]),
        ("in/**/*.mp4", ["a.mp4", "jobs/d.mp4", "mon/c.mp4"]),
        ("in/**/*.*", ["a.mp4", "jobs/d.mp4", "mon/c.mp4"]),
        ("in/*/**/*.mp4", ["jobs/d.mp4", "mon/c.mp4"]),
        ("in/*/jobs/**/*.mp4", ["mon/jobs/a-1/a.mp4"]),
        ("in/mon", ["mon/c.mp4", "mon/jobs/a-1/a.mp4"]),
        ("in/mon/**/*.mp4", ["mon/c.mp4", "mon/jobs/a-1/a.mp4"]),
        ("in/mon/jobs", ["mon/jobs/a-1/a.mp4"]),
        ("in/mon/jobs/a-1", ["mon/jobs/a-1/a.mp4"]),
    ],
)
def test_results_of_other_runs_are_inputs_only_where_they_are_named(
    inputs: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "jobs/d.mp4", "mon/c.mp4", "mon/jobs/a-1/a.mp4", "mon/runs/1/run.json"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    found = [request.video_url for request in load_manifest(inputs, {}).requests]
    assert [url.removeprefix(f"{(tmp_path / 'in').as_uri()}/") for url in found] == names


@pytest.mark.parametrize("pattern", ["", "*.mp4"])
def test_a_folder_that_may_be_listed_and_not_entered_gives_videos_that_say_so_themselves(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").touch()
    stat = os.stat

    def closed(path: os.PathLike[str] | str, **how: bool) -> os.stat_result:
        if str(path).endswith("a.mp4"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", closed)
    (request,) = load_manifest(str(tmp_path / pattern), {}).requests
    assert Path(request.video_url).name == "a.mp4"


@pytest.mark.parametrize(("closed", "others"), [("b", ["a.mp4"]), ("lost+found", ["a.mp4", "b.mp4"]), (".", [])])
def test_a_folder_that_cannot_be_listed_is_a_bad_entry_and_costs_no_other(
    closed: str, others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/a.mp4", "b/b.mp4", "lost+found/c.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path) in (tmp_path / closed, tmp_path / "lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    manifest = load_manifest(str(tmp_path), {})
    assert [Path(request.video_url).name for request in manifest.requests] == others
    assert [entry.place for entry in manifest.invalid] == [str(tmp_path / closed)] * (closed != "lost+found")
    for problem in (*manifest.problems, *load_manifest(str(tmp_path / "lost+found"), {}).problems):
        assert "this folder cannot be listed: permission denied; make it readable, or give" in problem


def test_a_folder_is_looked_into_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for path in (folder / "z" / "a.mp4", tmp_path / "elsewhere" / "b.mp4", tmp_path / "beside.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for link, target in (("a", "z"), ("link", "../elsewhere"), ("z/again", "../../elsewhere"), ("z/up", "../..")):
        (folder / link).symlink_to(target)
    (tmp_path / "elsewhere" / "back").symlink_to("../in/z")
    manifest = load_manifest(str(folder), {})
    assert [Path(request.video_url).relative_to(folder.as_uri()) for request in manifest.requests] == [
        Path("link/b.mp4"),
        Path("z/a.mp4"),
    ]


@pytest.mark.parametrize("pattern", ["", "*.mp4"])
def test_what_is_called_a_video_and_is_no_file_is_not_left_out_in_silence(pattern: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    (tmp_path / "folder.mp4").mkdir()
    manifest = load_manifest(str(tmp_path / pattern), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["gone.mp4", "pipe.mp4"]


@pytest.mark.parametrize("inputs", [".", "videos"])
def test_inputs_inside_of_the_output_are_said_to_be_there(
    inputs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    with pytest.raises(ManifestError, match="inside of it, and what is there is no input; give another output"):
        load_manifest(inputs, {}, exclude=tmp_path)


def test_a_glob_gives_what_it_matches_in_depth(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mkv", "deep/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    manifest = load_manifest(str(tmp_path / "**" / "*.mp4"), {})
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4", "c.mp4"]


def test_a_pattern_with_a_bracket_that_matches_nothing_is_told_how_one_of_a_name_is_written(tmp_path: Path) -> None:
    (tmp_path / "clips [v2]").mkdir()
    (tmp_path / "clips [v2]" / "a.mp4").touch()
    with pytest.raises(ManifestError, match=r"a bracket of a name is written \[\[\]"):
        load_manifest(f"{tmp_path}/clips [v2]/*.mp4", {})
    assert len(load_manifest(f"{tmp_path}/clips [[]v2]/*.mp4", {}).requests) == 1


def test_a_folder_that_is_called_like_a_mistyped_url_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "a.mp4").touch()
    (request,) = load_manifest("s3//", {}).requests
    assert request.video_url == (tmp_path / "s3" / "a.mp4").as_uri()


@pytest.mark.parametrize("inputs", ["in put", "in put/*.mp4", "in put/list.yaml"])
def test_a_file_uri_of_a_folder_a_pattern_or_a_file_is_the_path(inputs: str, tmp_path: Path) -> None:
    folder = tmp_path / "in put"
    (folder / "out").mkdir(parents=True)
    for name in ("a.mp4", "out/b.mp4"):
        (folder / name).touch()
    (folder / "list.yaml").write_text("- a.mp4")
    uri = f"file://{tmp_path}/{inputs}".replace(" ", "%20")
    manifest = load_manifest(uri, {}, exclude=folder / "out")
    assert manifest == load_manifest(str(tmp_path / inputs), {}, exclude=folder / "out")
    assert [Path(request.video_url).name for request in manifest.requests] == ["a.mp4"]


def test_a_file_uri_of_nothing_or_of_a_host_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"file:///\S*/none cannot be read.*\n.*it does not exist"):
        load_manifest(f"file://{tmp_path}/none", {})
    with pytest.raises(InputError, match="needs three slashes: file:///path"):
        load_manifest("file://videos", {})
